package journal

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"wavelock/rollout"
)

// AccessError is a line in the record of accesses that is not what was written.
type AccessError struct{ N int64 }

func (e *AccessError) Error() string {
	return fmt.Sprintf("line %d of the record of accesses is not what was written", e.N)
}

// Hint is what to do about it.
func (e *AccessError) Hint() string {
	return "somebody changed the database: compare with a backup, and with the dashboard's log"
}

// Witness writes down who came in, who was refused or what left, durably.
func (j *Journal) Witness(ctx context.Context, a rollout.Access) error {
	if err := j.db.inTx(ctx, func(tx transaction) error { return witness(ctx, tx, a) }); err != nil {
		return &WriteError{Op: "record the access of " + a.Who, Err: err}
	}
	return nil
}

func witness(ctx context.Context, tx transaction, a rollout.Access) error {
	var head []byte
	err := tx.QueryRowContext(ctx, "SELECT n, hash FROM access ORDER BY n DESC LIMIT 1").Scan(&a.N, &head)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	a.N, a.At = a.N+1, a.At.UTC().Round(0)
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO access (n, body, hash) VALUES (?, ?, ?)", a.N, body, chain(head, body))
	return err
}

// Accesses are up to limit lines before a position (0: from the end), the newest first. Each is checked
// against the one before it, where it is among them.
func (j *Journal) Accesses(ctx context.Context, before int64, limit int) ([]rollout.Access, error) {
	const op = "read the record of accesses"
	if before <= 0 {
		before = 1 << 62
	}
	rows, err := j.read.QueryContext(ctx, "SELECT n, body, hash FROM access WHERE n < ? ORDER BY n DESC LIMIT ?", before, limit+1)
	if err != nil {
		return nil, &ReadError{op, err}
	}
	defer rows.Close()
	var some []rollout.Access
	var newer struct{ body, hash []byte }
	for rows.Next() {
		var n int64
		var body, hash []byte
		if err := rows.Scan(&n, &body, &hash); err != nil {
			return nil, &ReadError{op, err}
		}
		if k := len(some); k > 0 && (some[k-1].N != n+1 || !bytes.Equal(newer.hash, chain(hash, newer.body))) {
			return nil, &ReadError{op, &AccessError{some[k-1].N}}
		}
		if newer.body, newer.hash = body, hash; len(some) == limit {
			return some, nil
		}
		var a rollout.Access
		if err := json.Unmarshal(body, &a); err != nil || a.N != n {
			return nil, &ReadError{op, &AccessError{n}}
		}
		some = append(some, a)
	}
	if err := rows.Err(); err != nil {
		return nil, &ReadError{op, err}
	}
	if k := len(some); k > 0 && (some[k-1].N != 1 || !bytes.Equal(newer.hash, chain(nil, newer.body))) {
		return nil, &ReadError{op, &AccessError{some[k-1].N}}
	}
	return some, nil
}

// AccessHead is the position and hash of the last line; 0 and nothing before the first.
func (j *Journal) AccessHead(ctx context.Context) (n int64, hash string, err error) {
	var raw []byte
	err = j.read.QueryRowContext(ctx, "SELECT n, hash FROM access ORDER BY n DESC LIMIT 1").Scan(&n, &raw)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, "", &ReadError{"read the record of accesses", err}
	}
	return n, hex.EncodeToString(raw), nil
}
