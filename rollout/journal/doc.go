// Package journal keeps what happened. It owns the database: the append-only
// events of each campaign in a hash chain, the rows that are drawn from them, what
// is known of the hosts, and the queue, which lives in the same database so that
// a decision and the jobs it makes are one transaction.
//
//	Append   a worker's events           ─┐
//	Decide   a decision's events + jobs  ─┼─▶ one writer ─▶ one durable transaction for all that wait
//	Append   a person's word             ─┘
//
// Rules kept inside the transaction:
//
//   - an event of an attempt that is over is refused (StaleError): a worker that
//     was declared dead cannot speak for a host;
//   - a decision is refused when the campaign was decided upon, or a person spoke,
//     since it was made;
//   - a job goes to the queue only together with the action that it carries out;
//   - what was written is durable (fsync) before Append or Decide answers; what
//     could not be written is a WriteError, and nothing of it is there.
//
// Events are read back only along the chain: an event that does not fit the hash
// of the one before it is a ChainError, and is not believed. A chain that was cut
// off at its end together with the campaign's row can be told only by a head (see
// Head) that was written down elsewhere.
//
// The database is an SQLite file, worked on by one process, or a PostgreSQL server that
// several share: one process coordinates (see Own), workers serve their zones. There a
// worker gives signs of life; what one that is dead had in hand is found by Orphans and
// given out again under a further attempt, so that whoever comes back is refused.
//
// It does not judge: what the events mean is rollout.State's business. River
// (the queue) is known to this package alone, and is never the truth: at the start
// of Work the queue is drawn anew from the hosts that the events say are worked on.
package journal
