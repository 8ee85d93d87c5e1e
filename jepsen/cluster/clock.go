package cluster

import (
	"fmt"
	"os"
	"time"
)

// The library that gives a process a wall clock of its own (Debian's libfaketime). The monotonic clock stays.
const fakeTime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"

// clockEnvironment is the environment of a node whose wall clock can be set, where Options.Clocks asks for that.
func (node *Node) clockEnvironment() ([]string, error) {
	if !node.cluster.Clocks {
		return nil, nil
	}
	if err := node.writeClock(0, 1); err != nil {
		return nil, err
	}
	return append(os.Environ(), "LD_PRELOAD="+fakeTime, "FAKETIME_TIMESTAMP_FILE="+node.clockFile(),
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_CACHE_DURATION=1"), nil
}

func (node *Node) clockFile() string { return node.cluster.path(node.Number, "clock") }

// SetClock puts the node's wall clock ahead of the true time, or behind it, and lets it run at a rate of the true one's from now
// on; it takes effect within a second. A process that is started anew begins with the true time.
func (node *Node) SetClock(ahead time.Duration, rate float64) error {
	// The library counts a rate from the start of the process: what that would have come to until now is taken back.
	offset := ahead.Seconds()
	if rate != 1 {
		offset -= node.age().Seconds() * (rate - 1)
	}
	return node.writeClock(offset, rate)
}

func (node *Node) writeClock(offset float64, rate float64) error {
	next := node.clockFile() + ".new"
	if err := os.WriteFile(next, []byte(fmt.Sprintf("%+.3fs x%.3f\n", offset, rate)), 0o644); err != nil {
		return err
	}
	return os.Rename(next, node.clockFile())
}
