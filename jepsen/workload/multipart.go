package workload

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The multipart workload: registers as in the register workload, some of whose writes come as parts. The parts of
// one upload are one body under one number, so that a completion that shows only some of them, or parts of two
// uploads, is a broken body. Some uploads are aborted, some are left lying; none of them may ever show.

const partSize = 5 << 20 // the least that S3 allows for all parts but the last

func stepMultipart(worker *Worker) {
	key := worker.registerKey()
	switch draw := worker.Rng.Intn(100); {
	case draw < 50:
		worker.read(key)
	case draw < 70:
		worker.swap(key)
	case draw < 80:
		number := worker.next()
		worker.put("write", key, number, number, nil)
	default:
		worker.upload(key)
	}
}

// partly sends what belongs to an upload but does not end it; nil: try no further.
func (worker *Worker) partly(request s3.Request) *s3.Reply {
	reply, outcome, err := worker.Client.Write(request)
	if outcome != s3.Done {
		worker.noteBroken(err)
		worker.rest()
		return nil
	}
	return reply
}

func (worker *Worker) upload(key string) {
	path, number := Bucket+"/"+key, worker.next()
	reply := worker.partly(s3.Request{Method: "POST", Path: path, Query: url.Values{"uploads": {""}}})
	var created struct{ UploadId string }
	if reply == nil || xml.Unmarshal(reply.Body, &created) != nil {
		return
	}
	body := s3.Body(int64(number), partSize+int(number)%1000)
	var list strings.Builder
	for i, part := range [][]byte{body[:partSize], body[partSize:]} {
		query := url.Values{"uploadId": {created.UploadId}, "partNumber": {strconv.Itoa(i + 1)}}
		stored := worker.partly(s3.Request{Method: "PUT", Path: path, Query: query, Body: part})
		if stored == nil {
			return
		}
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>&quot;%s&quot;</ETag></Part>", i+1, stored.ETag)
	}
	end := url.Values{"uploadId": {created.UploadId}}
	if draw := worker.Rng.Intn(10); draw < 2 {
		worker.partly(s3.Request{Method: "DELETE", Path: path, Query: end})
		return
	} else if draw < 3 {
		return
	}
	whole := "<CompleteMultipartUpload>" + list.String() + "</CompleteMultipartUpload>"
	worker.write("write", key, history.Number(number), s3.Request{Method: "POST", Path: path, Query: end,
		Body: []byte(whole)})
}
