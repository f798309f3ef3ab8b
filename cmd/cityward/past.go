package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cityward/agent/ledger"
	"cityward/agent/report"
	"cityward/configs"
)

// lastOf is how much of a ledger is shown in place of what a daemon sees now.
const lastOf = 24 * time.Hour

// daemon is the one of this machine, by the configuration in force. The error is
// errNoDaemon where there can be none.
func (p *program) daemon(cfg *configs.Config) (*admin, error) {
	switch {
	case p.root != "/":
		return nil, usage(fmt.Errorf("ask the daemon of %s: %w there: another machine's file tree has no daemon", p.root, errNoDaemon))
	case cfg.Listen.Admin == "":
		return nil, usage(fmt.Errorf("ask the daemon: %w: listen.admin is not set, so it has no socket to be asked at", errNoDaemon))
	}
	return newAdmin(cfg.Listen.Admin), nil
}

// ask gives a document of the daemon.
func (p *program) ask(ctx context.Context, cfg *configs.Config, document string) ([]byte, error) {
	daemon, err := p.daemon(cfg)
	if err != nil {
		return nil, err
	}
	data, err := daemon.get(ctx, document)
	if err != nil {
		return nil, internal(err)
	}
	return data, nil
}

// instead opens the ledger where no daemon answered, and says so on standard error
// with the time that is shown. What failed is given back where that is not why, or
// where there is no ledger either.
func (p *program) instead(ctx context.Context, failed error) (r *ledger.Reader, since time.Time, err error) {
	if !errors.Is(failed, errNoDaemon) {
		return nil, since, failed
	}
	r, err = p.openLedger()
	if err != nil {
		if p.root != "/" {
			return nil, since, err
		}
		return nil, since, failed
	}
	end, err := r.End(ctx)
	if err != nil {
		return nil, since, errors.Join(internal(err), r.Close())
	}
	since = end.Add(-lastOf)
	fmt.Fprintf(p.stderr, "cityward: no daemon answers: this is of the ledger in %s, which ends at %s\n", p.stateDir(), end.Format(time.RFC3339))
	return r, since, nil
}

// history opens the ledger and tells when a time ago was; of "" the last day of the
// ledger, which is shown since no daemon could be asked.
func (p *program) history(ctx context.Context, since string, failed error) (*ledger.Reader, time.Time, error) {
	if since == "" {
		return p.instead(ctx, failed)
	}
	begin, err := ago(since)
	if err != nil {
		return nil, begin, err
	}
	r, err := p.openLedger()
	return r, begin, err
}

// pastFlows are the flows since a time, by the ledger, in the form in which the
// daemon gives those of now.
func pastFlows(ctx context.Context, r *ledger.Reader, since time.Time) ([]report.Flow, error) {
	flows, err := r.Flows(ctx, since)
	if err != nil {
		return nil, internal(err)
	}
	return readBack(flows, report.ReadFlows)
}

// readBack turns what the ledger gives into what the daemon gives: the shape is the
// same.
func readBack[L, R any](rows []L, read func([]byte) ([]R, error)) ([]R, error) {
	if rows == nil {
		rows = []L{}
	}
	data, err := json.Marshal(rows)
	if err != nil {
		return nil, internal(fmt.Errorf("write rows of the ledger: %w", err))
	}
	docs, err := read(data)
	if err != nil {
		return nil, internal(err)
	}
	return docs, nil
}
