package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"bindery/jepsen/nemesis"
	"bindery/jepsen/plan"
	"bindery/jepsen/report"
	"bindery/jepsen/workload"
)

// table is what --all runs: every workload meets every fault and every two faults meet; the death of a workerd, which only Durable
// Objects notice, and upgrades, which need another program, come last.
func table(upgrades bool) []plan.Row {
	var durable []string
	for _, name := range workload.Names() {
		if workload.Durable(name) {
			durable = append(durable, name)
		}
	}
	rows := plan.Pairs(workload.Names(), nemesis.Common())
	rows = plan.Extra(rows, "workerd", nemesis.Common(), durable)
	if upgrades {
		rows = plan.Extra(rows, "upgrade", nemesis.Common(), workload.Names())
	}
	return rows
}

// runAll runs the table, a row after the other, and stops at the first that fails. Rows that are in the list of results already, and
// passed, are not run again; with --rows only so many are run, those first that have passed least often; with --part only those of
// that part; those of an upgrade only with --old-binary.
func runAll(ctx context.Context, o options) int {
	lines, err := report.Load(o.results)
	if err != nil {
		fmt.Fprintln(os.Stderr, "jepsen:", err)
		return 2
	}
	rows := table(o.oldBinary != "")
	passed := make([]int, len(rows))
	for i, row := range rows {
		for _, line := range lines {
			if line.Passed && line.System == "" && line.Nodes == o.nodes && line.Workload == row.Workload && line.Nemesis == row.Nemesis() {
				passed[i]++
			}
		}
	}
	for _, i := range plan.Next(passed, o.rows, o.part) {
		one := o
		one.workload, one.nemesis, one.seed = rows[i].Workload, rows[i].Nemesis(), o.seed+int64(i+passed[i]*len(rows))
		one.chooseDisks()
		one.report = filepath.Join(filepath.Dir(o.report), fmt.Sprintf("row%02d.html", i+1))
		one.directory = filepath.Join(o.directory, fmt.Sprintf("row%02d", i+1))
		fmt.Printf("row %d of %d: %s\n", i+1, len(rows), one.replay())
		if status := outside(ctx, one, one.words()); status != 0 {
			return status
		}
		if err := os.RemoveAll(one.directory); err != nil {
			fmt.Fprintln(os.Stderr, "jepsen:", err)
			return 2
		}
	}
	if o.rows == 0 {
		fmt.Printf("all rows passed: part %s of %d rows\n", o.part.String(), len(rows))
	}
	return 0
}

// words are the options of one run, as the command line has them.
func (o options) words() []string {
	return []string{"--workload", o.workload, "--nemesis", o.nemesis, "--time", o.seconds.String(), "--seed",
		strconv.FormatInt(o.seed, 10), "--nodes", strconv.Itoa(o.nodes), "--workers", strconv.Itoa(o.workers), "--binary", o.binary,
		"--dir", o.directory, "--name", o.name, "--disks", o.disks, "--results", o.results, "--report", o.report,
		"--workerd", o.workerd, "--old-binary", o.oldBinary}
}
