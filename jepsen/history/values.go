package history

import (
	"fmt"
	"strings"
)

// Number is an integer value; Absent stands for no object.
type Number int64

// Absent is the value of a register whose object does not exist.
const Absent Number = 0

// EDN writes nil for Absent.
func (number Number) EDN() string {
	if number == Absent {
		return "nil"
	}
	return fmt.Sprint(int64(number))
}

// Swap is a compare-and-set: from one value to another.
type Swap struct{ From, To Number }

// EDN writes a pair.
func (swap Swap) EDN() string { return fmt.Sprintf("[%s %s]", swap.From.EDN(), swap.To.EDN()) }

// Text is a word, as the nemesis uses them.
type Text string

// EDN writes a string.
func (text Text) EDN() string { return fmt.Sprintf("%q", string(text)) }

// Set is what a list showed.
type Set []Number

// EDN writes a set.
func (set Set) EDN() string {
	words := make([]string, len(set))
	for i, number := range set {
		words[i] = number.EDN()
	}
	return "#{" + strings.Join(words, " ") + "}"
}
