// An S3 bucket in the memory of one process, as far as workerd's cluster mode asks for it: what a bucket costs at the very
// least. It is the peer that bench/durable_objects.py measures against, whole as it is: it checks no signature, keeps
// nothing over its end, knows the requests that workerd sends, and can answer each one late by a fixed time.
package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

const stamp = "2026-01-01T00:00:00.000Z"

type object struct {
	body []byte
	etag string
}

type bucket struct {
	lock    sync.RWMutex
	objects map[string]object
	delay   time.Duration
}

func (b *bucket) put(w http.ResponseWriter, r *http.Request, key string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	sum := md5.Sum(body)
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	b.lock.Lock()
	defer b.lock.Unlock()
	old, exists := b.objects[key]
	match := r.Header.Get("If-Match")
	if (match != "" && (!exists || old.etag != match)) || (r.Header.Get("If-None-Match") == "*" && exists) {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	b.objects[key] = object{body, etag}
	w.Header().Set("ETag", etag)
}

func (b *bucket) get(w http.ResponseWriter, r *http.Request, key string) {
	b.lock.RLock()
	found, exists := b.objects[key]
	b.lock.RUnlock()
	if !exists {
		fail(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", found.etag)
	w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
	w.Header().Set("Content-Length", fmt.Sprint(len(found.body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(found.body)
	}
}

type content struct {
	Key, LastModified, ETag string
	Size                    int
}

type prefixes struct{ Prefix string }

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name, Prefix          string
	KeyCount, MaxKeys     int
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []content
	CommonPrefixes        []prefixes
}

func (b *bucket) list(w http.ResponseWriter, r *http.Request, name string) {
	query := r.URL.Query()
	prefix, delimiter, after := query.Get("prefix"), query.Get("delimiter"), query.Get("start-after")
	if token := query.Get("continuation-token"); token != "" {
		after = token
	}
	b.lock.RLock()
	keys := make([]string, 0)
	for key := range b.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	out := listing{Name: name, Prefix: prefix, MaxKeys: 1000}
	seen := map[string]bool{}
	for _, key := range keys {
		if out.KeyCount == out.MaxKeys {
			out.IsTruncated = true
			break
		}
		rest := key[len(prefix):]
		if at := strings.Index(rest, delimiter); delimiter != "" && at >= 0 {
			common := prefix + rest[:at+len(delimiter)]
			if !seen[common] {
				seen[common] = true
				out.CommonPrefixes = append(out.CommonPrefixes, prefixes{common})
				out.KeyCount++
			}
		} else {
			found := b.objects[key]
			out.Contents = append(out.Contents, content{key, stamp, found.etag, len(found.body)})
			out.KeyCount++
		}
		out.NextContinuationToken = key
	}
	b.lock.RUnlock()
	if !out.IsTruncated {
		out.NextContinuationToken = ""
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(out)
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.delay > 0 {
		time.Sleep(b.delay)
	}
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case key == "" && r.Method == http.MethodGet:
		b.list(w, r, name)
	case key == "":
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodPut:
		b.put(w, r, key)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		b.get(w, r, key)
	case r.Method == http.MethodDelete:
		b.lock.Lock()
		delete(b.objects, key)
		b.lock.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		fail(w, http.StatusNotImplemented, "NotImplemented")
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "host:port")
	delay := flag.Duration("delay", 0, "before each answer, like 300us")
	flag.Parse()
	err := http.ListenAndServe(*listen, &bucket{objects: map[string]object{}, delay: *delay})
	fmt.Fprintln(os.Stderr, "s3_memory:", err)
	os.Exit(1)
}
