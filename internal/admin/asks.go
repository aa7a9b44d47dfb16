package admin

import (
	"context"
	"fmt"
	"io"
	"net/url"
)

// Version asks for the daemon's.
func (c *Client) Version(ctx context.Context) (string, error) {
	out, err := get[versionAnswer](ctx, c, callVersion, nil)
	return out.Version, err
}

// Status asks how things stand.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, callStatus, nil)
}

// Leases asks for those that a filter takes.
func (c *Client) Leases(ctx context.Context, f Filter) ([]Lease, error) {
	return get[[]Lease](ctx, c, callLeases, f.Query())
}

// Pools asks for all pools.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	return get[[]Pool](ctx, c, callPools, nil)
}

// Hosts asks for all hosts that are known, alive or not.
func (c *Client) Hosts(ctx context.Context) ([]Host, error) {
	return get[[]Host](ctx, c, callHosts, nil)
}

// Reserve keeps an address for a name.
func (c *Client) Reserve(ctx context.Context, r Reserving) (Reserved, error) {
	return post[Reserved](ctx, c, callReserve, r)
}

// Release ends what is kept for a name.
func (c *Client) Release(ctx context.Context, t Target) error {
	_, err := post[done](ctx, c, callRelease, t)
	return err
}

// Rename gives what is kept for one name to another.
func (c *Client) Rename(ctx context.Context, r Rename) error {
	_, err := post[done](ctx, c, callRename, r)
	return err
}

// Import takes in reservations. Where there are clashes, the error is an *Error
// that has the plan.
func (c *Client) Import(ctx context.Context, in Import) (Plan, error) {
	return post[Plan](ctx, c, callImport, in)
}

// ForgetHost forgets a host, by name or id.
func (c *Client) ForgetHost(ctx context.Context, host string) (Host, error) {
	return post[Host](ctx, c, callForget, map[string]string{"host": host})
}

// Ask has the daemon's DNS answer.
func (c *Client) Ask(ctx context.Context, q Question) (Answer, error) {
	return post[Answer](ctx, c, callAsk, q)
}

// Records asks for the operator's records.
func (c *Client) Records(ctx context.Context) ([]Record, error) {
	return get[[]Record](ctx, c, callRecords, nil)
}

// AddRecord adds a record and returns it as it is kept.
func (c *Client) AddRecord(ctx context.Context, r Record) (Record, error) {
	return post[Record](ctx, c, callAdd, r)
}

// RemoveRecord removes records and returns them.
func (c *Client) RemoveRecord(ctx context.Context, r Record) ([]Record, error) {
	return post[[]Record](ctx, c, callRemove, r)
}

// Doctor has the daemon look for what is wrong.
func (c *Client) Doctor(ctx context.Context, mode DoctorMode) (Report, error) {
	if mode == DoctorFix {
		return post[Report](ctx, c, callFix, done{})
	}
	return get[Report](ctx, c, callLook, nil)
}

// Samples asks what DNS did lately.
func (c *Client) Samples(ctx context.Context) ([]DNSSample, error) {
	return get[[]DNSSample](ctx, c, callSamples, nil)
}

// Backup writes a backup. It is whole only where ReadBackup says so.
func (c *Client) Backup(ctx context.Context, to io.Writer) error {
	resp, err := c.open(ctx, callBackup, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	out := &noting{to: to}
	if _, err := io.Copy(out, resp.Body); err != nil {
		if out.err != nil {
			return fmt.Errorf("write the backup: %w", out.err)
		}
		return c.failed(ctx, err)
	}
	return nil
}

// noting tells an error of who writes from one of who sends.
type noting struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (n *noting) Write(p []byte) (int, error) {
	done, err := n.to.Write(p)
	n.err = err
	return done, err
}

// Restore puts a backup in the place of what is kept.
func (c *Client) Restore(ctx context.Context, from io.Reader, mode RestoreMode) (Restore, error) {
	query := url.Values{}
	if mode == RestoreDry {
		query.Set(queryDryRun, queryDryMode)
	}
	var out Restore
	err := c.call(ctx, callRestore, query, from, &out)
	return out, err
}
