package history

import (
	"fmt"
	"strings"
)

// Micro is one step of a transaction: a value appended to a list, or a list read (nil: not yet).
type Micro struct {
	Append bool
	List   Number
	Value  Number   // appended
	Seen   []Number // read
}

// Txn is a transaction of several steps. What a client was told has Sequence: the database's number, which a transaction that
// appends has made one greater, and one that only reads has seen; it begins with 1.
type Txn struct {
	Database int
	Steps    []Micro
	Sequence int64
}

// Writes says whether the transaction appends anything.
func (txn Txn) Writes() bool {
	for _, step := range txn.Steps {
		if step.Append {
			return true
		}
	}
	return false
}

// EDN is Elle's list-append: [[:append k v] [:r k [v ...]]]. What a read saw is nil in an invocation.
func (txn Txn) EDN() string {
	words := make([]string, len(txn.Steps))
	for i, step := range txn.Steps {
		switch {
		case step.Append:
			words[i] = fmt.Sprintf("[:append %d %d]", step.List, step.Value)
		case txn.Sequence == 0:
			words[i] = fmt.Sprintf("[:r %d nil]", step.List)
		default:
			words[i] = fmt.Sprintf("[:r %d %s]", step.List, vector(step.Seen))
		}
	}
	return "[" + strings.Join(words, " ") + "]"
}

func vector(numbers []Number) string {
	words := make([]string, len(numbers))
	for i, number := range numbers {
		words[i] = fmt.Sprint(int64(number))
	}
	return "[" + strings.Join(words, " ") + "]"
}

// Row of the lists as they lie in the database, in the order of their insertion.
type Row struct {
	List, Value Number
	Sequence    int64 // of the transaction that appended it
}

// Rows of a database in the end.
type Rows struct {
	Database int
	Rows     []Row
}

// EDN writes [list value sequence] of each.
func (rows Rows) EDN() string {
	words := make([]string, len(rows.Rows))
	for i, row := range rows.Rows {
		words[i] = fmt.Sprintf("[%d %d %d]", row.List, row.Value, row.Sequence)
	}
	return "[" + strings.Join(words, " ") + "]"
}

// Transfer of money between two accounts.
type Transfer struct {
	ID       Number
	From, To int
	Amount   int64
}

// EDN is that of Jepsen's bank, with the transfer's number.
func (transfer Transfer) EDN() string {
	return fmt.Sprintf("{:id %d, :from %d, :to %d, :amount %d}", transfer.ID, transfer.From, transfer.To, transfer.Amount)
}

// Bank is what all accounts hold at one time, and how many transfers had been made; in the end, which.
type Bank struct {
	Balances  []int64
	Transfers int64
	Made      []Transfer // nil but in the end
}

// EDN is that of Jepsen's bank: {account balance}.
func (bank Bank) EDN() string {
	words := make([]string, len(bank.Balances))
	for account, balance := range bank.Balances {
		words[account] = fmt.Sprintf("%d %d", account, balance)
	}
	return "{" + strings.Join(words, ", ") + "}"
}

// InSession is an operation of a session: of a write, Value is what it writes to the session's own register; of an answer, what
// that register and the database's counter of writes were, with the bookmark told.
type InSession struct {
	Session  Number
	Value    Number
	Counter  int64
	Sent     string // the bookmark, or the constraint that a session begins with
	Bookmark string
	Replica  bool // not the leader answered
}

// EDN writes what there is.
func (in InSession) EDN() string {
	return fmt.Sprintf("{:session %d, :value %s, :counter %d, :sent %q, :bookmark %q, :replica %t}", in.Session, in.Value.EDN(),
		in.Counter, in.Sent, in.Bookmark, in.Replica)
}
