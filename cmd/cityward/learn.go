package main

import (
	"cmp"
	"context"
	"io"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"cityward/agent/ledger"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const learnFrom = "7d"

func (p *program) policyLearn() *cobra.Command {
	var since, output string
	cmd := &cobra.Command{
		Use:   "learn",
		Short: "Draft transfers and networks from recorded connections, for a person to review",
		Long: `Draft [[transfer]] entries from the connections that the ledger in the state
directory recorded and that the policy in force does not cover, and networks of the
city from private addresses that it does not know. Incoming connections are drafted
where the program held a store's data.

Nothing is approved by a draft. It names what was seen: program, network (/24, /64,
or that of the policy), port, direction and country. Purpose, legal basis, owner,
approval, end and stores are comments to fill in, networks of the city comments to
remove the sign from, and cityward config check refuses the file until every entry is
filled in or removed. Try it with cityward policy test.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			begin, err := ago(since)
			if err != nil {
				return err
			}
			l := newLesson(cfg, begin, time.Now())
			if err := p.learn(cmd.Context(), l); err != nil {
				return err
			}
			return p.write(output, func(w io.Writer) error { return l.draft(w) })
		},
	}
	cmd.Flags().StringVar(&since, "since", learnFrom, "from what was recorded in the last `DURATION`, such as 24h or 30d")
	cmd.Flags().StringVar(&output, "output", "", "write to `FILE` instead of standard output")
	return cmd
}

func (p *program) learn(ctx context.Context, l *lesson) error {
	r, err := p.openLedger()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Hours(ctx, l.since, l.add); err != nil {
		return internal(err)
	}
	return nil
}

// lesson is what recorded connections tell that the policy does not.
type lesson struct {
	cfg       *configs.Config
	since, at time.Time
	routed    map[route]*passage
	city      map[netip.Prefix]*passage // private networks that the policy does not know
	nameless  passage                   // of no program that a policy can name
	folded    passage                   // many in one, whose addresses found no room
	covered   uint64                    // connections
}

// route is what becomes one entry.
type route struct {
	program   string
	network   netip.Prefix // not of incoming ones: a service has many clients
	port      uint16
	direction string
	country   string
}

// passage is what went by a route.
type passage struct {
	sent, received, connections uint64
	first, last                 time.Time
	networks                    []netip.Prefix
	more                        int // networks beyond those
	protocols, operators        []string
	users, units, stores        []string
}

func newLesson(cfg *configs.Config, since, at time.Time) *lesson {
	return &lesson{cfg: cfg, since: since, at: at, routed: make(map[route]*passage), city: make(map[netip.Prefix]*passage)}
}

// add takes an hour of a flow.
func (l *lesson) add(f *ledger.Flow) {
	if f.Zone == inventory.Host.String() || f.Direction == configs.In && len(f.Stores) == 0 {
		return
	}
	if f.Remote == nil {
		l.folded.add(f, netip.Prefix{})
		return
	}
	addr, err := netip.ParseAddr(f.Remote.Address)
	if err != nil {
		l.folded.add(f, netip.Prefix{})
		return
	}
	addr = addr.Unmap().WithZone("")
	switch network := l.network(addr); {
	case l.cfg.InCity(addr):
	case l.covers(f, addr):
		l.covered += f.Connections
	case addr.IsPrivate():
		into(l.city, network).add(f, network)
	case !nameable(f):
		l.nameless.add(f, network)
	default:
		key := route{*f.Program.Executable, network, portOf(f), f.Direction, countryOf(f)}
		if f.Direction == configs.In {
			key.network, key.country = netip.Prefix{}, ""
		}
		into(l.routed, key).add(f, network)
	}
}

func into[K comparable](all map[K]*passage, key K) *passage {
	if all[key] == nil {
		all[key] = &passage{}
	}
	return all[key]
}

// network is the one of the policy that holds an address, else its neighbourhood.
func (l *lesson) network(addr netip.Addr) netip.Prefix {
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	best, _ := addr.Prefix(bits)
	known := -1
	for i := range l.cfg.Transfers {
		for _, n := range l.cfg.Transfers[i].Networks {
			if n.Contains(addr) && n.Bits() > known && n.Bits() >= 8 {
				best, known = n, n.Bits()
			}
		}
	}
	return best
}

// covers reports whether transfers in force cover a flow for all data that went
// along.
func (l *lesson) covers(f *ledger.Flow, addr netip.Addr) bool {
	q := configs.TransferQuery{Direction: f.Direction, Remote: addr, Port: portOf(f), At: l.at}
	if f.Program != nil && f.Program.Executable != nil {
		q.Program = *f.Program.Executable
	}
	stores := f.Stores
	if len(stores) == 0 {
		stores = []string{""}
	}
	return !slices.ContainsFunc(stores, func(store string) bool {
		q.Store = store
		return len(l.cfg.MatchTransfers(q)) == 0
	})
}

func portOf(f *ledger.Flow) uint16 {
	switch {
	case f.Direction == configs.Out && f.Remote != nil:
		return f.Remote.Port
	case f.Direction == configs.In && f.Local != nil:
		return f.Local.Port
	}
	return 0
}

// countryOf is only what a policy takes for one.
func countryOf(f *ledger.Flow) string {
	if c := f.Remote.Country; c != nil && len(*c) == 2 && strings.Trim(*c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
		return *c
	}
	return ""
}

// nameable reports whether a policy can name the program: an entry without it would
// approve every program.
func nameable(f *ledger.Flow) bool {
	if f.Program == nil || f.Program.Executable == nil {
		return false
	}
	file := *f.Program.Executable
	return path.IsAbs(file) && path.Clean(file) == file && shown(file) == file
}

// shown is a name as it may stand in a comment: it cannot end the line.
func shown(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, name)
}

// listedNetworks is how many an entry names.
const listedNetworks = 20

func (t *passage) add(f *ledger.Flow, network netip.Prefix) {
	t.sent += f.Sent
	t.received += f.Received
	t.connections += f.Connections
	if t.first.IsZero() || f.First.Before(t.first) {
		t.first = f.First
	}
	if f.Last.After(t.last) {
		t.last = f.Last
	}
	switch {
	case !network.IsValid() || slices.Contains(t.networks, network):
	case len(t.networks) < listedNetworks:
		t.networks = append(t.networks, network)
	default:
		t.more++
	}
	include(&t.protocols, &f.Protocol)
	if f.Remote != nil {
		include(&t.operators, f.Remote.Operator)
	}
	if f.Program != nil {
		include(&t.users, f.Program.User)
		include(&t.units, f.Program.Unit)
	}
	for i := range f.Stores {
		include(&t.stores, &f.Stores[i])
	}
}

func include(list *[]string, name *string) {
	if name != nil && *name != "" && !slices.Contains(*list, *name) && len(*list) < listedNetworks {
		*list = append(*list, *name)
	}
}

// routes are in the order in which a person should look at them: what went with a
// store's data, then what sent most.
func (l *lesson) routes() []route {
	all := make([]route, 0, len(l.routed))
	for key := range l.routed {
		all = append(all, key)
	}
	slices.SortFunc(all, func(a, b route) int {
		ta, tb := l.routed[a], l.routed[b]
		return cmp.Or(-cmp.Compare(min(len(ta.stores), 1), min(len(tb.stores), 1)), -cmp.Compare(ta.sent, tb.sent), cmp.Compare(a.program, b.program),
			a.network.Compare(b.network), cmp.Compare(a.port, b.port), cmp.Compare(a.direction, b.direction), cmp.Compare(a.country, b.country))
	})
	return all
}
