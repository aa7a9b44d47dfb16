package ovs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/digitalocean/go-openvswitch/ovsdb"
)

// readLimit is how long the database may take to answer.
const readLimit = 3 * time.Second

// database reads the switch's database.
type database struct {
	client *ovsdb.Client
	// done is closed when the server has gone.
	done <-chan struct{}
}

// watched tells when a connection ended. The client that reads it would spin on
// any error but io.EOF, and would leave callers waiting.
type watched struct {
	net.Conn
	done chan struct{}
	once sync.Once
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.once.Do(func() { close(w.done) })
		err = io.EOF
	}
	return n, err
}

func dialDatabase(ctx context.Context, socket string) (*database, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reach the switch's database: %w", err)
	}
	w := &watched{Conn: conn, done: make(chan struct{})}
	client, err := ovsdb.New(w)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("speak to the switch's database: %w", err)
	}
	return &database{client: client, done: w.done}, nil
}

func (d *database) close() { _ = d.client.Close() }

// rows returns a table's rows for which all conditions hold.
func (d *database) rows(ctx context.Context, table string, where ...ovsdb.Cond) ([]ovsdb.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	go func() {
		select {
		case <-d.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	rows, err := d.client.Transact(ctx, "Open_vSwitch", []ovsdb.TransactOp{ovsdb.Select{Table: table, Where: where}})
	if err != nil {
		return nil, fmt.Errorf("read %s from the switch's database: %w", table, err)
	}
	return rows, nil
}

type rootRow struct {
	version string
	config  map[string]string
}

// root reads the one row about the switch as a whole.
func (d *database) root(ctx context.Context) (rootRow, error) {
	rows, err := d.rows(ctx, "Open_vSwitch")
	if err != nil {
		return rootRow{}, err
	}
	if len(rows) != 1 {
		return rootRow{}, errors.New("the switch's database is not initialised yet")
	}
	return rootRow{version: text(rows[0]["ovs_version"]), config: pairs(rows[0]["other_config"])}, nil
}

type bridgeRow struct {
	ids, config        map[string]string
	failMode, datapath string
	ports              map[string]bool
}

// bridge reads a bridge by name.
func (d *database) bridge(ctx context.Context, name string) (row bridgeRow, there bool, err error) {
	rows, err := d.rows(ctx, "Bridge", ovsdb.Equal("name", name))
	if err != nil || len(rows) == 0 {
		return bridgeRow{}, false, err
	}
	r := rows[0]
	row = bridgeRow{
		ids: pairs(r["external_ids"]), config: pairs(r["other_config"]),
		failMode: text(r["fail_mode"]), datapath: text(r["datapath_type"]), ports: map[string]bool{},
	}
	for _, id := range refs(r["ports"]) {
		row.ports[id] = true
	}
	return row, true, nil
}
