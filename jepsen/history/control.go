package history

import "fmt"

// Thing is something that was made under a name, or its absence (ID ""), with the number that lies in it.
type Thing struct {
	ID     string
	Number Number
}

// EDN writes nil for what is not there.
func (thing Thing) EDN() string {
	if thing.ID == "" {
		return "nil"
	}
	return fmt.Sprintf("{:id %q, :number %s}", thing.ID, thing.Number.EDN())
}

// Why a changing operation was refused, which says something of the state: the thing was not there, was there, or was not empty.
type Why string

const (
	Missing Why = "missing"
	Taken   Why = "taken"
	Filled  Why = "filled"
)

// EDN is a keyword.
func (why Why) EDN() string { return ":" + string(why) }
