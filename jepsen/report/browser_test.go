package report

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The page in a browser, where there is one (tools/setup --dev): a run that passed, and one that failed in every way, with names
// that a page may not take for its own. ../look says what a reader would miss.
func TestPageInBrowser(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("no chromium here: tools/setup --dev")
	}
	passed := Run{Workload: "register", Nemesis: "kill", Seed: 7, Nodes: 3, Workers: 10, Disks: "ext4", Seconds: 6 * time.Second,
		Began: time.Now(), Replay: "jepsen/run --workload register --nemesis kill --time 6s --nodes 3 --seed 7", Passed: true,
		Commit: "0123456789ab", Faults: 1, Events: hurtHistory()}
	failed := passed
	failed.Passed, failed.TooLittle, failed.System, failed.Workload = false, true, "dqlite", "append"
	failed.Replay = "jepsen/run --workload append --nemesis kill --time 6s --nodes 3 --seed 7 --system dqlite"
	failed.Aborts, failed.Undecided = []string{"node 1 ended by itself"}, []string{"waited 1m0s for the cluster to be whole"}
	for i := 0; i < 2*reasonsShown; i++ {
		failed.Anomalies = append(failed.Anomalies, fmt.Sprintf("<b>key %d</b> & co are not linearizable </body>", i))
	}
	var pages []string
	for name, run := range map[string]Run{"passed": passed, "failed": failed} {
		pages = append(pages, filepath.Join(t.TempDir(), name+".html"))
		file, err := os.Create(pages[len(pages)-1])
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(file, run); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := exec.Command("../look", pages...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}
