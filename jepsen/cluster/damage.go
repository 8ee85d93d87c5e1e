package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrNoFile says that there is no file to damage.
var ErrNoFile = errors.New("no file to damage")

// formatFile says that a directory is one of bodies. With a damaged one a node does not start, and says so: there is nothing of
// it to repair.
const formatFile = "format"

// Damage flips one bit of one file of a stopped node, or cuts the file off: a table of its state, or a body. Never of the journal,
// whose last batch cannot be told from a torn one.
func (node *Node) Damage(rng *rand.Rand) (string, error) {
	files, err := node.files(func(path string) bool { return strings.HasSuffix(path, ".sst") || isBody(path) })
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", ErrNoFile
	}
	return damageFile(files[rng.Intn(len(files))], rng, true)
}

// Rot flips one bit of every body of a stopped node.
func (node *Node) Rot(rng *rand.Rand) (string, error) {
	bodies, err := node.files(isBody)
	if err == nil && len(bodies) == 0 {
		err = ErrNoFile
	}
	if err != nil {
		return "", err
	}
	for _, path := range bodies {
		if _, err := damageFile(path, rng, false); err != nil && !errors.Is(err, ErrNoFile) {
			return "", err
		}
	}
	return fmt.Sprintf("a bit of each of its %d bodies", len(bodies)), nil
}

// damageFile flips one bit of a file; where it may be cut, now and then it is cut off instead. ErrNoFile: it is empty.
func damageFile(path string, rng *rand.Rand, mayCut bool) (string, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	about, err := file.Stat()
	if err != nil {
		return "", err
	}
	if about.Size() == 0 {
		return "", ErrNoFile
	}
	at, name := rng.Int63n(about.Size()), filepath.Base(path)
	if mayCut && rng.Intn(cutEvery) == 0 {
		if err := file.Truncate(at); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, cut off at byte %d of %d", name, at, about.Size()), file.Sync()
	}
	return fmt.Sprintf("%s, byte %d", name, at), flipBit(file, at, byte(1)<<rng.Intn(8))
}

// isBody: whether a file is one of the body store's, and not what says that its directory is one.
func isBody(path string) bool {
	return strings.Contains(path, "/bodies/") && filepath.Base(path) != formatFile
}

// files of the node's data that are wanted, in the order of their names.
func (node *Node) files(wanted func(path string) bool) ([]string, error) {
	var files []string
	err := filepath.WalkDir(node.data, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && wanted(path) {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// HasTables says whether there is a table of the node's state on its disk.
func (node *Node) HasTables() bool {
	tables, _ := node.files(func(path string) bool { return strings.HasSuffix(path, ".sst") })
	return len(tables) > 0
}

// cutEvery: one damage in so many is a file cut off, the others are bits.
const cutEvery = 3

func flipBit(file *os.File, at int64, bit byte) error {
	one := make([]byte, 1)
	if _, err := file.ReadAt(one, at); err != nil {
		return err
	}
	one[0] ^= bit
	if _, err := file.WriteAt(one, at); err != nil {
		return err
	}
	return file.Sync()
}

const ballast = "ballast"

// roomLeft is what FillDisk leaves: less than the reserve that a node keeps.
const roomLeft = 8 << 20

// FillDisk takes nearly all that is free on the node's disk. Needs Options.Disks.
func (node *Node) FillDisk() error {
	var about syscall.Statfs_t
	if err := syscall.Statfs(node.disk.mount, &about); err != nil {
		return err
	}
	free := int64(about.Bavail) * about.Bsize
	if free <= roomLeft {
		return nil
	}
	file, err := os.Create(filepath.Join(node.disk.mount, ballast))
	if err != nil {
		return err
	}
	defer file.Close()
	err = syscall.Fallocate(int(file.Fd()), 0, 0, free-roomLeft)
	if errors.Is(err, syscall.ENOSPC) { // the node was quicker: what is taken now is enough
		return nil
	}
	return err
}

// FreeDisk gives back what FillDisk took.
func (node *Node) FreeDisk() error {
	err := os.Remove(filepath.Join(node.disk.mount, ballast))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	mount, err := os.Open(node.disk.mount)
	if err != nil {
		return err
	}
	defer mount.Close()
	return mount.Sync() // or a loss of power brings it back
}
