package main

// What bench/d1_table.h says, for dqlite: the tables, the statements, and the value of a row.
const (
	valueBytes = 100
	batchRows  = 1000
	scanRows   = 1000
	sumRows    = 10000

	columns = " (id INTEGER PRIMARY KEY, k INTEGER NOT NULL, v TEXT NOT NULL)"
	dropT   = "DROP TABLE IF EXISTS t"
	makeT   = "CREATE TABLE t" + columns
	dropW   = "DROP TABLE IF EXISTS w"
	makeW   = "CREATE TABLE w" + columns
	countT  = "SELECT count(*), sum(k) FROM t"
	countW  = "SELECT count(*), count(*) FROM w"
)

var statements = map[string]string{
	"read":   "SELECT k, v FROM t WHERE id = ?",
	"scan":   "SELECT id, k, v FROM t WHERE id >= ? ORDER BY id LIMIT 1000",
	"sum":    "SELECT count(*), sum(id), sum(length(v)) FROM t WHERE id BETWEEN ? AND ?",
	"update": "UPDATE t SET k = k + 1 WHERE id = ?",
	"insert": "INSERT INTO w (k, v) VALUES (?, ?)",
	"batch":  "INSERT INTO w (k, v) VALUES (?, ?)",
	"fill":   "INSERT INTO t (id, k, v) VALUES (?, ?, ?)",
}

// text is what values are pieces of.
var text = func() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	out := make([]byte, 1<<20)
	x := uint64(1)
	for i := range out {
		x ^= x >> 12
		x ^= x << 25
		x ^= x >> 27
		out[i] = letters[x*2685821657736338717>>58]
	}
	return string(out)
}()

func value(id int64) string {
	x := (uint64(id) ^ uint64(id)>>33) * 0xFF51AFD7ED558CCD
	at := (x >> 20) % uint64(len(text)-valueBytes)
	return text[at : at+valueBytes]
}
