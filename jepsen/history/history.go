// Package history records what clients asked and what they were told, in Jepsen's terms.
//
// An operation is two events: its invocation, and its completion as ok (it happened), fail (it certainly did
// not happen) or info (nobody knows). A process whose operation ended in info never acts again under its number,
// so that the operation may be taken to be under way for ever.
package history

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"
)

// Type of an event.
type Type string

const (
	Invoke Type = "invoke"
	OK     Type = "ok"
	Fail   Type = "fail"
	Info   Type = "info"
)

// Event is one line of a history.
type Event struct {
	Index   int
	Time    time.Duration // since the history began, by this process's monotonic clock
	Type    Type
	Process int // NemesisProcess for the nemesis
	F       string
	Key     string // "" if the operation has none
	Value   Value  // nil: nothing known (a read's invocation)
	Error   string // why fail or info
	Pair    int    // index of the invocation; of an invocation: of its completion, -1 if there is none
}

// NemesisProcess is the process of the nemesis' own events.
const NemesisProcess = -1

// Value is what an event carries, written as EDN.
type Value interface{ EDN() string }

// Log is a growing history, safe for concurrent use.
type Log struct {
	mutex  sync.Mutex
	begun  time.Time
	events []Event
}

// New begins a history now.
func New() *Log { return &Log{begun: time.Now()} }

// Now is the time of the next event.
func (log *Log) Now() time.Duration { return time.Since(log.begun) }

func (log *Log) add(event Event) int {
	event.Index = len(log.events)
	event.Time = time.Since(log.begun)
	log.events = append(log.events, event)
	return event.Index
}

// Invoke records an invocation and returns its index, for Complete.
func (log *Log) Invoke(process int, f, key string, value Value) int {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	return log.add(Event{Type: Invoke, Process: process, F: f, Key: key, Value: value, Pair: -1})
}

// Complete records how the operation invoked at index ended.
func (log *Log) Complete(index int, kind Type, value Value, why string) {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	invoked := log.events[index]
	end := log.add(Event{Type: kind, Process: invoked.Process, F: invoked.F, Key: invoked.Key, Value: value,
		Error: why, Pair: index})
	log.events[index].Pair = end
}

// Note records something the nemesis did.
func (log *Log) Note(f string, value Value) {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	log.add(Event{Type: Info, Process: NemesisProcess, F: f, Value: value, Pair: -1})
}

// Events is a copy of what was recorded.
func (log *Log) Events() []Event {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	return append([]Event(nil), log.events...)
}

// Operation is an invocation with its end.
type Operation struct {
	Event          // the invocation
	End     *Event // nil: never ended
	Outcome Type   // Info if it never ended
}

// Operations pairs the events of a history, in order of invocation.
func Operations(events []Event) []Operation {
	var out []Operation
	for i := range events {
		if events[i].Type != Invoke {
			continue
		}
		operation := Operation{Event: events[i], Outcome: Info}
		if pair := events[i].Pair; pair >= 0 {
			operation.End, operation.Outcome = &events[pair], events[pair].Type
		}
		out = append(out, operation)
	}
	return out
}

func process(event Event) string {
	if event.Process == NemesisProcess {
		return ":nemesis"
	}
	return fmt.Sprint(event.Process)
}

func value(event Event) string {
	text := "nil"
	if event.Value != nil {
		text = event.Value.EDN()
	}
	if event.Key != "" { // jepsen.independent: [key value]
		text = fmt.Sprintf("[%q %s]", event.Key, text)
	}
	return text
}

// WriteEDN writes one event a line, as Jepsen's Elle and Knossos read them.
func WriteEDN(to io.Writer, events []Event) error {
	out := bufio.NewWriter(to)
	for _, event := range events {
		_, _ = fmt.Fprintf(out, "{:index %d, :time %d, :type :%s, :process %s, :f :%s, :value %s", event.Index,
			event.Time.Nanoseconds(), event.Type, process(event), event.F, value(event))
		if event.Error != "" {
			_, _ = fmt.Fprintf(out, ", :error %q", event.Error)
		}
		_, _ = fmt.Fprintln(out, "}")
	}
	return out.Flush()
}
