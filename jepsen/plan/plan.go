// Package plan chooses which runs together let every workload meet every fault, and every two faults each other.
package plan

import (
	"fmt"
	"sort"
)

// Row is one run: a workload under two faults.
type Row struct {
	Workload string
	Faults   [2]string
}

// Nemesis is the row's faults as the command line has them.
func (row Row) Nemesis() string { return row.Faults[0] + "," + row.Faults[1] }

// Pairs is a table of rows that covers every pair of faults and every (workload, fault). Each pair of faults is one row,
// given to the workload that has met fewest of the two; what is left over gets rows of its own.
func Pairs(workloads, faults []string) []Row {
	met := map[string]map[string]bool{}
	rowsOf := map[string]int{}
	for _, workload := range workloads {
		met[workload] = map[string]bool{}
	}
	var rows []Row
	add := func(workload, one, other string) {
		rows = append(rows, Row{workload, [2]string{one, other}})
		met[workload][one], met[workload][other] = true, true
		rowsOf[workload]++
	}
	for i, one := range faults {
		for _, other := range faults[i+1:] {
			add(neediest(workloads, met, rowsOf, one, other), one, other)
		}
	}
	for _, workload := range workloads {
		var missing []string
		for _, one := range faults {
			if !met[workload][one] {
				missing = append(missing, one)
			}
		}
		sort.Strings(missing)
		for i := 0; i < len(missing); i += 2 {
			other := faults[0]
			if i+1 < len(missing) {
				other = missing[i+1]
			} else if other == missing[i] {
				other = faults[1]
			}
			add(workload, missing[i], other)
		}
	}
	return rows
}

// Extra adds the rows of a fault that not every cluster or workload can meet: it meets each of the others once, those workloads in turn.
func Extra(rows []Row, fault string, others, workloads []string) []Row {
	for i, other := range others {
		rows = append(rows, Row{workloads[i%len(workloads)], [2]string{fault, other}})
	}
	return rows
}

func neediest(workloads []string, met map[string]map[string]bool, rowsOf map[string]int, one, other string) string {
	best, bestNew := "", -1
	for _, workload := range workloads {
		fresh := 0
		for _, each := range []string{one, other} {
			if !met[workload][each] {
				fresh++
			}
		}
		if fresh > bestNew || (fresh == bestNew && rowsOf[workload] < rowsOf[best]) {
			best, bestNew = workload, fresh
		}
	}
	return best
}

// Part is every Nth row from the Kth, so that N harnesses side by side run a table; the zero value is all of it.
type Part struct{ K, N int }

// Set reads K/N, as the command line has it.
func (part *Part) Set(text string) error {
	var read Part
	var rest string
	if n, _ := fmt.Sscanf(text, "%d/%d%s", &read.K, &read.N, &rest); n != 2 || read.K < 1 || read.K > read.N {
		return fmt.Errorf("not K/N with K from 1 to N")
	}
	*part = read
	return nil
}

func (part Part) String() string {
	if part.N == 0 {
		return "1/1"
	}
	return fmt.Sprintf("%d/%d", part.K, part.N)
}

func (part Part) has(row int) bool { return part.N == 0 || row%part.N == part.K-1 }

// Next are the places of rows of a part to run: of all that never passed, in order; or, if count is not 0, of that many, those
// first that have passed least often.
func Next(passed []int, count int, part Part) []int {
	var order []int
	for i, times := range passed {
		if part.has(i) && (times == 0 || count > 0) {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return passed[order[i]] < passed[order[j]] })
	if count > 0 && len(order) > count {
		order = order[:count]
	}
	return order
}
