package cluster

import "testing"

func TestSpacesOfANetwork(t *testing.T) {
	network := &Network{Name: "one", Nodes: 3}
	for _, space := range []string{network.Space(1), network.Space(12), network.WorkerdSpace(2), network.ClientSpace(), network.bridgeSpace()} {
		if !network.has(space) {
			t.Errorf("%s is not ours", space)
		}
	}
	other := &Network{Name: "one-c", Nodes: 3}
	for _, space := range []string{other.Space(1), other.ClientSpace(), "one", "onec-n1", "one-notes", "two-n1"} {
		if network.has(space) {
			t.Errorf("%s is taken for ours", space)
		}
	}
}
