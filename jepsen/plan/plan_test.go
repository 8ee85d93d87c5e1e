package plan

import (
	"fmt"
	"testing"
)

func TestEveryPairIsCovered(t *testing.T) {
	workloads := []string{"a", "b", "c", "d"}
	faults := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}
	rows := Pairs(workloads, faults)
	pairs, seen := map[[2]string]bool{}, map[[2]string]bool{}
	for _, row := range rows {
		pairs[row.Faults], pairs[[2]string{row.Faults[1], row.Faults[0]}] = true, true
		for _, fault := range row.Faults {
			seen[[2]string{row.Workload, fault}] = true
		}
		if row.Faults[0] == row.Faults[1] {
			t.Errorf("a row of one fault: %v", row)
		}
	}
	for i, one := range faults {
		for _, other := range faults[i+1:] {
			if !pairs[[2]string{one, other}] {
				t.Errorf("%s and %s never meet", one, other)
			}
		}
		for _, workload := range workloads {
			if !seen[[2]string{workload, one}] {
				t.Errorf("%s never meets %s", workload, one)
			}
		}
	}
	if most := len(faults)*(len(faults)-1)/2 + len(workloads); len(rows) > most {
		t.Errorf("%d rows, %d are enough", len(rows), most)
	}
}

func TestExtraRowsFollow(t *testing.T) {
	rows := Extra([]Row{{"a", [2]string{"1", "2"}}}, "x", []string{"1", "2", "3"}, []string{"a", "b"})
	want := "[{a [1 2]} {a [x 1]} {b [x 2]} {a [x 3]}]"
	if fmt.Sprint(rows) != want {
		t.Errorf("%v, not %s", rows, want)
	}
}

func TestNextGoesOnAndRound(t *testing.T) {
	for _, each := range []struct {
		passed []int
		count  int
		wanted string
	}{
		{[]int{1, 0, 2, 0}, 0, "[1 3]"},
		{[]int{1, 0, 2, 0}, 1, "[1]"},
		{[]int{1, 1, 2, 1}, 2, "[0 1]"},
		{[]int{2, 1, 2, 2}, 2, "[1 0]"},
		{[]int{1, 1}, 0, "[]"},
	} {
		if got := fmt.Sprint(Next(each.passed, each.count, Part{})); got != each.wanted {
			t.Errorf("%v, %d: %s, not %s", each.passed, each.count, got, each.wanted)
		}
	}
}

func TestPartsAreTheWhole(t *testing.T) {
	passed, seen := make([]int, 11), map[int]bool{}
	for _, text := range []string{"1/3", "2/3", "3/3"} {
		var part Part
		if err := part.Set(text); err != nil || part.String() != text {
			t.Errorf("%s: %v, %s", text, err, part)
		}
		for _, row := range Next(passed, 0, part) {
			if seen[row] {
				t.Errorf("row %d twice", row)
			}
			seen[row] = true
		}
	}
	if len(seen) != len(passed) {
		t.Errorf("%d rows of %d", len(seen), len(passed))
	}
	for _, wrong := range []string{"", "1", "0/2", "3/2", "1/2x", "1/0", "-1/2"} {
		part := Part{K: 1, N: 2}
		if part.Set(wrong) == nil || part != (Part{K: 1, N: 2}) {
			t.Errorf("%q is taken as %s", wrong, part)
		}
	}
}
