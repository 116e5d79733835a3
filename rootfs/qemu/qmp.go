package qemu

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// answerTime bounds how long QEMU may take to answer; it does so at once unless
// it hangs.
const answerTime = 30 * time.Second

// qmp is a connection to QEMU's machine protocol.
type qmp struct {
	mu   sync.Mutex
	file *os.File
	in   *json.Decoder
	out  *json.Encoder
}

// message is what QEMU sends: an answer, an error or an event.
type message struct {
	Return any             `json:"return"`
	Error  *qmpError       `json:"error"`
	Event  string          `json:"event"`
	Hello  json.RawMessage `json:"QMP"`
}

type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// newQMP greets QEMU at the other end of a socket.
func newQMP(f *os.File) (*qmp, error) {
	f.SetDeadline(time.Now().Add(answerTime))
	q := &qmp{file: f, in: json.NewDecoder(f), out: json.NewEncoder(f)}
	var hello message
	if err := q.in.Decode(&hello); err != nil || hello.Hello == nil {
		f.Close()
		return nil, fmt.Errorf("no greeting from QEMU: %v", err)
	}
	_, err := q.do("qmp_capabilities", nil)
	return q, err
}

// do sends a command and waits for its answer; events in between are dropped.
func (q *qmp) do(command string, arguments map[string]any) (any, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.file.SetDeadline(time.Now().Add(answerTime))
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := q.out.Encode(request); err != nil {
		return nil, fmt.Errorf("cannot send QMP command %s: %w", command, err)
	}
	for {
		var m message
		if err := q.in.Decode(&m); err != nil {
			return nil, fmt.Errorf("no answer to QMP command %s: %w", command, err)
		}
		switch {
		case m.Error != nil:
			return nil, fmt.Errorf("QMP command %s: %s: %s", command, m.Error.Class, m.Error.Desc)
		case m.Event == "":
			return m.Return, nil
		}
	}
}

func (q *qmp) close() { q.file.Close() }
