package cluster

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	nfqueue "github.com/florianl/go-nfqueue"
	"golang.org/x/sys/unix"
)

// Links are made slow by the kernel's NFQUEUE: it hands us what arrives from some addresses, and we let each packet pass when
// its time has come, in the order they came. (netem is not in every kernel; this one's is without it.)

const (
	slowQueue   = 7
	slowPackets = 8192 // that may wait; those above are lost, as on a slow link
)

type heldPacket struct {
	id  uint32
	due time.Time
}

// slowQueueOf holds back what arrives in one namespace.
type slowQueueOf struct {
	queue  *nfqueue.Nfqueue
	cancel context.CancelFunc
	held   chan heldPacket

	stopped chan struct{}
	ended   sync.WaitGroup
}

// openSlow begins to hold packets that rules give to the queue: for delay, half of it more or less by chance.
func openSlow(space string, delay time.Duration, seed int64) (*slowQueueOf, error) {
	name, err := os.Open("/run/netns/" + space)
	if err != nil {
		return nil, err
	}
	defer name.Close()
	queue, err := nfqueue.Open(&nfqueue.Config{NfQueue: slowQueue, MaxPacketLen: 128, MaxQueueLen: slowPackets,
		Copymode: nfqueue.NfQnlCopyMeta, WriteTimeout: time.Second, NetNS: int(name.Fd())})
	if err != nil {
		return nil, fmt.Errorf("NFQUEUE in %s: %w", space, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	slow := &slowQueueOf{queue: queue, cancel: cancel, held: make(chan heldPacket, slowPackets), stopped: make(chan struct{})}
	slow.ended.Add(1)
	go slow.release()
	rng, last := rand.New(rand.NewSource(seed)), time.Now()
	err = queue.RegisterWithErrorFunc(ctx, func(packet nfqueue.Attribute) int {
		due := time.Now().Add(delay/2 + time.Duration(rng.Int63n(int64(delay))))
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case slow.held <- heldPacket{*packet.PacketID, due}:
		default:
			_ = queue.SetVerdict(*packet.PacketID, nfqueue.NfDrop)
		}
		return 0
	}, func(error) int { return 0 }) // the reading ends with ctx, and with the socket
	if err != nil {
		slow.close()
		return nil, err
	}
	return slow, nil
}

func (slow *slowQueueOf) release() {
	defer slow.ended.Done()
	for {
		select {
		case packet := <-slow.held:
			time.Sleep(time.Until(packet.due))
			_ = slow.queue.SetVerdict(packet.id, nfqueue.NfAccept)
		case <-slow.stopped:
			return
		}
	}
}

// close ends it; the rules must be gone. What is still held is lost with the socket.
func (slow *slowQueueOf) close() {
	slow.cancel()
	_ = slow.queue.Close()
	close(slow.stopped)
	slow.ended.Wait()
}

// Slow delays everything that the nodes of one side and the others send each other, until Heal, and makes sure that it does.
func (network *Network) Slow(side, rest []int, delay time.Duration, seed int64) error {
	for _, pair := range [][2][]int{{side, rest}, {rest, side}} {
		for _, to := range pair[1] {
			slow, err := openSlow(network.Space(to), delay, seed+int64(to))
			if err != nil {
				return err
			}
			network.slow = append(network.slow, slow)
			for _, from := range pair[0] {
				if err := network.rule(to, from, "NFQUEUE", "--queue-num", fmt.Sprint(slowQueue), "--queue-bypass"); err != nil {
					return err
				}
			}
		}
	}
	return network.seeSlow(rest[0], side[0], delay)
}

// seeSlow opens a connection, which takes one way there and one back.
func (network *Network) seeSlow(from, to int, delay time.Duration) error {
	var took time.Duration
	err := inSpace(network.Space(from), func() error {
		begun := time.Now()
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", Address(to), peerPort), 10*time.Second)
		took = time.Since(begun)
		if err == nil {
			_ = conn.Close()
		}
		return nil // refused or not: it went there and back
	})
	if err == nil && took < delay {
		err = fmt.Errorf("the link of %d and %d should be slow by %s and more each way, and answered after %s", from, to, delay/2, took)
	}
	return err
}

// inSpace runs something in a namespace. The thread comes back from there: if it ended instead, the nodes that it started would get
// their death signal.
func inSpace(space string, do func() error) error {
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer here.Close()
	there, err := os.Open("/run/netns/" + space)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	failure := do()
	if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
		return err // the thread stays locked: nobody else may run there
	}
	runtime.UnlockOSThread()
	return failure
}
