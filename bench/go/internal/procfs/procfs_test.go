package procfs

import (
	"os"
	"testing"
	"time"
)

func TestNameWithParenthesesAndSpacesIsSkipped(t *testing.T) {
	raw := "4711 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 100"
	cpu, err := parseStat([]byte(raw))
	if err != nil || cpu != 3*time.Second {
		t.Errorf("%v, %v, want 3 s", cpu, err)
	}
	if _, err := parseStat([]byte("4711 (a) S 1")); err == nil {
		t.Error("a line without CPU times was read")
	}
}

func TestOwnProcessIsMeasured(t *testing.T) {
	pid := os.Getpid()
	before, err := CPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	machineBefore, err := MachineBusy()
	if err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
		now, err := CPU(pid)
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			break
		}
	}
	after, _ := CPU(pid)
	machineAfter, _ := MachineBusy()
	if after <= before || machineAfter <= machineBefore {
		t.Errorf("CPU %v to %v, machine %v to %v", before, after, machineBefore, machineAfter)
	}
	if rss, err := RSS(pid); err != nil || rss < 1<<20 {
		t.Errorf("RSS %d, %v", rss, err)
	}
}
