package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"
)

// Planted is one answer of `tools/mutate --layers`: whether a simulator, or runs of this harness, caught a change that breaks a
// promise. A line of JSON each; of several answers about one change the last counts.
type Planted struct {
	Change, Class, Layer, Breaks, By string
	Caught                           bool
	Absent                           bool // no such catcher for this change; Said has why
	Seconds                          float64
	Seeds, Runs                      int // up to the one that failed, or all
	Run                              string
	Said                             string
	Day, Commit                      string
	Error                            string // no answer: it did not build, or failed without the change, too
}

// layers, and who looks for changes, in the order of the tables.
var layers = []string{"raft", "journal", "objects", "kv", "sql"}

const bySimulator, byJepsen = "simulator", "jepsen"

// LoadPlanted reads the answers; a file that is not there has none.
func LoadPlanted(path string) ([]Planted, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []Planted
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		var one Planted
		if err := json.Unmarshal(scanner.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(all)+1, err)
		}
		all = append(all, one)
	}
	return all, scanner.Err()
}

// change is what is known of one: its answers by who gave them.
type change struct {
	Planted // what is the same in all
	by      map[string]Planted
}

// changes in the order of the layers, and within one of the lines.
func changes(lines []Planted) []change {
	places := map[string]int{}
	var all []change
	for _, line := range lines {
		at, known := places[line.Change]
		if !known {
			at = len(all)
			places[line.Change] = at
			all = append(all, change{Planted: line, by: map[string]Planted{}})
		}
		all[at].by[line.By] = line
	}
	rank := map[string]int{}
	for i, layer := range layers {
		rank[layer] = i
	}
	sort.SliceStable(all, func(i, j int) bool { return rank[all[i].Layer] < rank[all[j].Layer] })
	return all
}

const plantedHead = `
## Planted changes
Each of these changes of the sources (tests/mutants/layers.toml) breaks a promise that users see. They were planted one at a time by ` + "`tools/mutate --layers`" + ` and looked for by the simulator of the layer, seeds from 1 upward, and by runs of this harness, 20 s of load each, until the first failure; the same seed, or run, passes without the change. Time to catch is without the build, and with the set-up of clusters: median, max. What only one of the two catches says what the other cannot see; what neither catches is in tests/mutants/README.md.

| layer | changes | caught by either | by its simulator | time to catch | by jepsen | time to catch |
|---|---|---|---|---|---|---|
`

// planted writes the score of each layer, then each change.
func planted(text *strings.Builder, lines []Planted) {
	all := changes(lines)
	if len(all) == 0 {
		return
	}
	text.WriteString(plantedHead)
	for _, layer := range layers {
		var mine []change
		for _, each := range all {
			if each.Layer == layer {
				mine = append(mine, each)
			}
		}
		scoreRow(text, layer, mine)
	}
	scoreRow(text, "all", all)
	text.WriteString("\n| layer | change | class | what it breaks | simulator | jepsen |\n|---|---|---|---|---|---|\n")
	for _, each := range all {
		fmt.Fprintf(text, "| %s | %s | %s | %s | %s | %s |\n", each.Layer, each.Change, each.Class, cell(each.Breaks), told(each.by, bySimulator),
			told(each.by, byJepsen))
	}
}

func scoreRow(text *strings.Builder, name string, some []change) {
	if len(some) == 0 {
		return
	}
	either := 0
	for _, each := range some {
		if each.by[bySimulator].Caught || each.by[byJepsen].Caught {
			either++
		}
	}
	fmt.Fprintf(text, "| %s | %d | %d |", name, len(some), either)
	for _, by := range []string{bySimulator, byJepsen} {
		asked, times := 0, []time.Duration(nil)
		for _, each := range some {
			answer, known := each.by[by]
			if known && !answer.Absent && answer.Error == "" {
				asked++
			}
			if answer.Caught {
				times = append(times, time.Duration(answer.Seconds*float64(time.Second)))
			}
		}
		switch middle, greatest := Middle(times); {
		case asked == 0:
			text.WriteString(" - | |")
		case len(times) == 0:
			fmt.Fprintf(text, " 0 of %d | |", asked)
		default:
			fmt.Fprintf(text, " %d of %d | %.1f s, %.1f s |", len(times), asked, middle.Seconds(), greatest.Seconds())
		}
	}
	text.WriteString("\n")
}

// told is one answer in a few words.
func told(answers map[string]Planted, by string) string {
	answer, known := answers[by]
	what := fmt.Sprintf("seed %d", answer.Seeds)
	if by == byJepsen {
		what = fmt.Sprintf("run %d (%s)", answer.Runs, answer.Run)
	}
	switch {
	case !known:
		return "not asked"
	case answer.Error != "":
		return "error: " + cell(answer.Error)
	case answer.Absent:
		return cell(answer.Said)
	case answer.Caught:
		return fmt.Sprintf("%.1f s, %s: %s", answer.Seconds, what, cell(answer.Said))
	case by == byJepsen:
		return fmt.Sprintf("**survives** %d runs%s", answer.Runs, cell(prefixed(": ", answer.Said)))
	default:
		return fmt.Sprintf("**survives** %d seeds", answer.Seeds)
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

const cellMax = 140

// cell is a text that fits into a table.
func cell(text string) string {
	return shorten(strings.NewReplacer("|", "/", "\n", " ", "<", "&lt;").Replace(text), cellMax)
}
