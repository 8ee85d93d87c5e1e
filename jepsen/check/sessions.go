package check

import (
	"fmt"
	"sort"
	"time"

	"bindery/jepsen/history"
)

// firstPrimary is what a session begins with that shall see all that was acknowledged before it.
const firstPrimary = "first-primary"

// Sessions checks what D1 promises a session, on whatever node and replica it is asked: it reads its own writes; neither the
// counter nor the bookmark it is told goes back; what it is told is at least of the bookmark it sent; a write makes the counter
// one that nobody else was told. A session that begins at the primary sees all writes acknowledged before. And of all sessions
// together: the same bookmark is the same state, and a later one a later state.
//
// A session's operations follow each other, and it ends with the first whose outcome is unknown.
func Sessions(events []history.Event) Result {
	result := Result{Counts: map[string]int{}}
	byDatabase := map[string][]history.Operation{}
	replicas, reads := 0, 0
	for _, operation := range history.Operations(events) {
		result.Counts[string(operation.Outcome)]++
		byDatabase[operation.Key] = append(byDatabase[operation.Key], operation)
		if operation.Outcome == history.OK && operation.F == "read" {
			reads++
			if operation.End.Value.(history.InSession).Replica {
				replicas++
			}
		}
	}
	for name, operations := range byDatabase {
		tell := func(format string, words ...interface{}) {
			result.Anomalies = append(result.Anomalies, name+": "+fmt.Sprintf(format, words...))
		}
		eachSession(operations, tell)
		counters(operations, tell)
		states(operations, tell)
	}
	sort.Strings(result.Anomalies)
	result.Notes = append(result.Notes, fmt.Sprintf("%d of %d reads in sessions were answered by a replica that did not lead", replicas, reads))
	return result
}

// eachSession looks at what a session sees of itself.
func eachSession(operations []history.Operation, tell func(string, ...interface{})) {
	type seen struct {
		own      history.Number
		counter  int64
		bookmark string
	}
	sessions := map[history.Number]*seen{}
	for _, operation := range operations {
		if operation.Outcome != history.OK {
			continue
		}
		asked, told := operation.Value.(history.InSession), operation.End.Value.(history.InSession)
		session := sessions[asked.Session]
		if session == nil {
			session = &seen{}
			sessions[asked.Session] = session
		}
		if operation.F == "write" {
			session.own = asked.Value
		}
		if told.Value != session.own {
			tell("the %s at %d shows %d in session %d, whose newest write is %d", operation.F, operation.Index, told.Value, asked.Session, session.own)
		}
		if told.Counter < session.counter || (operation.F == "write" && told.Counter == session.counter) {
			tell("the counter goes from %d to %d in session %d, with the %s at %d", session.counter, told.Counter, asked.Session, operation.F, operation.Index)
		}
		if told.Bookmark < session.bookmark {
			tell("the bookmark goes back from %s to %s in session %d, at %d", session.bookmark, told.Bookmark, asked.Session, operation.Index)
		}
		if operation.F == "write" && told.Replica {
			tell("the write at %d was answered by a replica", operation.Index)
		}
		session.counter, session.bookmark = told.Counter, told.Bookmark
	}
}

// counters looks at what writes made of the counter, and at what the primary showed.
func counters(operations []history.Operation, tell func(string, ...interface{})) {
	taken := map[int64]int{}
	var ends []history.Operation // writes acknowledged, as they were acknowledged
	var begins []time.Duration   // of writes that may have been done
	for _, operation := range operations {
		if operation.F != "write" || operation.Outcome == history.Fail {
			continue
		}
		begins = append(begins, operation.Time)
		if operation.Outcome != history.OK {
			continue
		}
		counter := operation.End.Value.(history.InSession).Counter
		if other, twice := taken[counter]; twice {
			tell("the writes at %d and %d both made the counter %d", other, operation.Index, counter)
		}
		taken[counter] = operation.Index
		ends = append(ends, operation)
	}
	sort.Slice(ends, func(i, j int) bool { return ends[i].End.Time < ends[j].End.Time })
	greatest := make([]int64, len(ends)+1) // of the first so many
	for i, each := range ends {
		greatest[i+1] = greatest[i]
		if counter := each.End.Value.(history.InSession).Counter; counter > greatest[i] {
			greatest[i+1] = counter
		}
	}
	for _, operation := range operations {
		if operation.Outcome != history.OK {
			continue
		}
		counter := operation.End.Value.(history.InSession).Counter
		before := greatest[sort.Search(len(ends), func(i int) bool { return ends[i].End.Time >= operation.Time })]
		primary := operation.F == "write" || operation.Value.(history.InSession).Sent == firstPrimary
		if primary && counter < before {
			tell("the %s at %d shows %d at the primary, and %d was acknowledged before", operation.F, operation.Index, counter, before)
		}
		begun := sort.Search(len(begins), func(i int) bool { return begins[i] > operation.End.Time })
		if counter > int64(begun) {
			tell("the %s at %d shows %d, and %d writes had begun", operation.F, operation.Index, counter, begun)
		}
	}
}

// states looks at what bookmarks stand for.
func states(operations []history.Operation, tell func(string, ...interface{})) {
	var told []history.InSession
	for _, operation := range operations {
		if operation.Outcome == history.OK {
			told = append(told, operation.End.Value.(history.InSession))
		}
	}
	sort.SliceStable(told, func(i, j int) bool { return told[i].Bookmark < told[j].Bookmark })
	for i := 1; i < len(told); i++ {
		one, other := told[i-1], told[i]
		if one.Bookmark == other.Bookmark && one.Counter != other.Counter {
			tell("bookmark %s is both %d and %d", one.Bookmark, one.Counter, other.Counter)
		} else if other.Counter < one.Counter {
			tell("bookmark %s is %d, and the later %s is %d", one.Bookmark, one.Counter, other.Bookmark, other.Counter)
		}
	}
}
