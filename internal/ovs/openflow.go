package ovs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// What we speak of OpenFlow 1.3: enough to notice a dead switch and to count
// flows. Flows themselves go through ovs-ofctl.
const (
	ofVersion   = 4
	ofHello     = 0
	ofError     = 1
	ofEcho      = 2
	ofEchoReply = 3
	ofMultipart = 18
	ofMultiRep  = 19

	ofHeader       = 8
	ofAggregate    = 2
	ofAggregateLen = ofHeader + 8 + 40
	// ofMaxMessage bounds what we read: nothing that we ask for is longer.
	ofMaxMessage = 1 << 16
)

// flowConn is the idle connection that ends the moment ovs-vswitchd does.
// Without the greeting the switch would close it after a second.
type flowConn struct {
	conn net.Conn
	// done is closed when the connection has ended.
	done chan struct{}

	mu  sync.Mutex // guards below
	err error
	xid uint32
	// waiting are the calls that await a reply, by transaction.
	waiting map[uint32]chan []byte
}

func dialFlows(ctx context.Context, socket string) (*flowConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reach the bridge: %w", err)
	}
	c := &flowConn{conn: conn, done: make(chan struct{}), waiting: map[uint32]chan []byte{}}
	greeting := make(chan error, 1)
	go c.read(greeting)
	if err := c.send(ofHello, 0, nil); err != nil {
		c.close()
		return nil, err
	}
	select {
	case err := <-greeting:
		if err != nil {
			c.close()
			return nil, fmt.Errorf("greet the bridge: %w", err)
		}
		return c, nil
	case <-ctx.Done():
		c.close()
		return nil, fmt.Errorf("the bridge doesn't greet back: %w", ctx.Err())
	}
}

func (c *flowConn) close() {
	_ = c.conn.Close()
	<-c.done
}

// cause is why the connection ended.
func (c *flowConn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// send writes one message.
func (c *flowConn) send(kind byte, xid uint32, body []byte) error {
	msg := make([]byte, ofHeader, ofHeader+len(body))
	msg[0], msg[1] = ofVersion, kind
	binary.BigEndian.PutUint16(msg[2:], uint16(ofHeader+len(body)))
	binary.BigEndian.PutUint32(msg[4:], xid)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(readLimit)); err != nil {
		return fmt.Errorf("send to the bridge: %w", err)
	}
	if _, err := c.conn.Write(append(msg, body...)); err != nil {
		return fmt.Errorf("send to the bridge: %w", err)
	}
	return nil
}

// read answers echoes and hands replies on until the connection ends.
func (c *flowConn) read(greeting chan<- error) {
	in := bufio.NewReader(c.conn)
	var err error
	for err == nil {
		var m message
		if m, err = readMessage(in); err != nil {
			break
		}
		switch m.kind {
		case ofHello:
			select {
			case greeting <- nil:
			default:
			}
		case ofEcho:
			err = c.send(ofEchoReply, m.xid, m.body)
		case ofMultiRep, ofError:
			c.reply(m)
		}
	}
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	select {
	case greeting <- err:
	default:
	}
	close(c.done)
}

func (c *flowConn) reply(m message) {
	c.mu.Lock()
	ch := c.waiting[m.xid]
	delete(c.waiting, m.xid)
	c.mu.Unlock()
	if ch == nil {
		return
	}
	if m.kind == ofError {
		m.body = nil
	}
	ch <- m.body
}

type message struct {
	kind byte
	xid  uint32
	body []byte
}

var errMessage = errors.New("not an OpenFlow message")

// readMessage reads one message of any version: the greeting names the switch's
// highest, not the one agreed on.
func readMessage(r io.Reader) (message, error) {
	var head [ofHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	length := int(binary.BigEndian.Uint16(head[2:]))
	if length < ofHeader || length >= ofMaxMessage {
		return message{}, fmt.Errorf("%w: length %d", errMessage, length)
	}
	m := message{kind: head[1], xid: binary.BigEndian.Uint32(head[4:]), body: make([]byte, length-ofHeader)}
	if _, err := io.ReadFull(r, m.body); err != nil {
		return message{}, err
	}
	return m, nil
}

// count asks how many flows have a cookie.
func (c *flowConn) count(ctx context.Context, cookie, mask uint64) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	ch := make(chan []byte, 1)
	c.mu.Lock()
	c.xid++
	xid := c.xid
	c.waiting[xid] = ch
	c.mu.Unlock()
	if err := c.send(ofMultipart, xid, aggregateRequest(cookie, mask)); err != nil {
		return 0, err
	}
	select {
	case body := <-ch:
		return aggregateReply(body)
	case <-c.done:
		return 0, fmt.Errorf("count flows: %w", ErrDown)
	case <-ctx.Done():
		return 0, fmt.Errorf("count flows: %w", ctx.Err())
	}
}

// aggregateRequest asks for the sum over all tables (OpenFlow 1.3.5, 7.3.5.3).
func aggregateRequest(cookie, mask uint64) []byte {
	b := make([]byte, ofAggregateLen-ofHeader)
	binary.BigEndian.PutUint16(b, ofAggregate)
	b[8] = 0xff                                     // all tables
	binary.BigEndian.PutUint32(b[12:], 0xffffffff)  // any port
	binary.BigEndian.PutUint32(b[16:], 0xffffffff)  // any group
	binary.BigEndian.PutUint64(b[24:], cookie)      //
	binary.BigEndian.PutUint64(b[32:], mask)        //
	binary.BigEndian.PutUint32(b[40:], 0x0001_0004) // a match of everything
	return b
}

// aggregateReply reads the number of flows.
func aggregateReply(b []byte) (int, error) {
	const flowCount = 8 + 16
	if len(b) < flowCount+4 || binary.BigEndian.Uint16(b) != ofAggregate {
		return 0, fmt.Errorf("%w: %d bytes where a sum of flows was asked for", errMessage, len(b))
	}
	return int(binary.BigEndian.Uint32(b[flowCount:])), nil
}
