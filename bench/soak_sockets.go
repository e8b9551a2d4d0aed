package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Soak soaks over loopback sockets, laid out as the plan says: servers that share a port, and clients, in processes of
// their own. When it is only afterwards that something fails, as a process that does not end, there is a result too.
func Soak(ctx context.Context, c SoakConfig, plan SoakPlan) (r *SoakResult, err error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := plan.Err(); err != nil {
		return nil, err
	}
	s := &socketSoak{config: &c, plan: &plan, loops: c.Loops, lost: make(chan error, 1)}
	if s.loops == 0 {
		s.loops = max(runtime.GOMAXPROCS(0)/plan.Servers, 1)
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.startServers(ctx); err != nil {
		return nil, err
	}
	r = c.result(false)
	if err := s.soak(ctx, r); err != nil {
		return nil, err
	}
	return r, nil
}

// socketSoak is a soak over sockets, seen from the process that started all others.
type socketSoak struct {
	config  *SoakConfig
	plan    *SoakPlan
	loops   int
	servers []*Server
	clients []*soakProcess
	lost    chan error // why the first process ended that did so before its time
}

func (s *socketSoak) startServers(ctx context.Context) error {
	listen := "127.0.0.1:0"
	var env []string
	if s.config.GOGC > 0 {
		env = []string{"GOGC=" + strconv.Itoa(s.config.GOGC)}
	}
	for range s.plan.Servers {
		command := append(slices.Clip(s.config.Serve),
			"--listen", listen, "--reuse-port", "--metrics", "127.0.0.1:0", "--log-level", "error",
			"--loops", strconv.Itoa(s.loops),
			"--ping-interval", s.config.pingEvery().String(), "--ping-timeout", s.config.PingTimeout.String())
		server, err := StartServer(ctx, command, env, -1)
		if err != nil {
			return err
		}
		s.servers = append(s.servers, server)
		s.watch(&server.child, "a server process")
		listen = strings.TrimPrefix(server.URL(""), "ws://")
	}
	return nil
}

// startClients starts the client processes, which connect at once.
func (s *socketSoak) startClients() error {
	mute := s.config.Mute
	for i := range s.plan.Clients {
		p, err := startSoakProcess(s.config.Clients)
		if err != nil {
			return err
		}
		s.clients = append(s.clients, p)
		s.watch(&p.child, "a client process")
		order := soakOrder{
			Do: soakOpen, URL: s.servers[0].URL("/echo"), Conns: s.plan.connsOf(i),
			PingInterval: s.config.PingInterval, Tolerance: s.config.Tolerance,
			Echoes:  s.config.Echoes / float64(s.plan.Clients),
			Dialers: max(dialersAtOnce/s.plan.Clients, 4),
			Loops:   max(runtime.GOMAXPROCS(0)/s.plan.Clients, 1),
		}
		order.Mute = min(mute, order.Conns)
		mute -= order.Mute
		for _, a := range s.plan.Sources(i) {
			order.Sources = append(order.Sources, a.String())
		}
		if err := p.order(order); err != nil {
			return err
		}
	}
	return nil
}

// soak opens the connections, waits, and asks everybody what came of it.
func (s *socketSoak) soak(ctx context.Context, r *SoakResult) error {
	before, err := s.snapshots(ctx, true)
	if err != nil {
		return err
	}
	slabBefore, begin := slab(), clock()
	if err := s.startClients(); err != nil {
		return err
	}
	if err := s.await(ctx, soakOpen, s.config.Opening); err != nil {
		return err
	}
	r.Opening = clock() - begin
	r.Retried = s.retried()
	r.Client = &SoakSide{Processes: s.plan.Clients}
	opened, err := s.snapshots(ctx, false)
	if err != nil {
		return err
	}
	servers, clients := s.cpu()
	r.Server.OpeningCPU, r.Client.OpeningCPU = servers-cpuIn(before), clients
	began := clock()
	if err := s.orderAll(soakBegin); err != nil {
		return err
	}
	if s.config.Soaking != nil {
		s.config.Soaking(r, s.pings)
	}
	timer := time.NewTimer(s.config.Duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done(): // what was found until then is told
		r.Interrupted = true
	case err := <-s.lost:
		return err
	}
	ctx = context.WithoutCancel(ctx)
	r.Elapsed = clock() - began
	serversAfter, clientsAfter := s.cpu()
	r.Server.CPU, r.Client.CPU = serversAfter-servers, clientsAfter-clients
	r.Kernel = float64(int64(slab()-slabBefore)) / float64(s.config.Conns)
	s.residentClients(r.Client)
	at, err := s.snapshots(ctx, false)
	if err != nil {
		return err
	}
	if err := s.orderAll(soakEnd); err != nil {
		return err
	}
	if err := s.await(ctx, soakEnd, nil); err != nil {
		return err
	}
	after, err := s.snapshots(ctx, true)
	if err != nil {
		return err
	}
	var all []books
	for _, p := range s.clients {
		all = append(all, *p.latest().Books)
	}
	if err := r.add(all); err != nil {
		return err
	}
	s.serverSide(r, before, opened, at, after)
	r.Client.perConn(s.config.Conns, 0, 0, r.Elapsed)
	return nil
}

// serverSide sums up the servers' snapshots.
func (s *socketSoak) serverSide(r *SoakResult, before, opened, at, after []*Snapshot) {
	side := &r.Server
	p := &at[0].Process
	side.Processes, side.GOMAXPROCS, side.GOGC, side.Loops = len(at), p.GOMAXPROCS, gogc(p.GOGC), s.loops
	side.GC, side.OpeningGC = new(GCPauses), new(GCPauses)
	var heapBefore, heap uint64
	for i := range at {
		side.RSSBefore += before[i].Process.RSS
		side.RSS += at[i].Process.RSS
		side.RSSPeak += peakOf(at[i].Process.PID)
		heapBefore += before[i].Process.LiveHeap
		heap += after[i].Process.LiveHeap
		side.GC.worst(at[i].Process.GCPauses)
		side.OpeningGC.worst(opened[i].Process.GCPauses)
		r.NoPong += after[i].Engine.PingTimeouts
	}
	side.perConn(s.config.Conns, heapBefore, heap, r.Elapsed)
}

// snapshots asks all servers at once.
func (s *socketSoak) snapshots(ctx context.Context, collect bool) ([]*Snapshot, error) {
	list, errs := make([]*Snapshot, len(s.servers)), make([]error, len(s.servers))
	var all sync.WaitGroup
	for i, server := range s.servers {
		all.Go(func() { list[i], errs[i] = server.Snapshot(ctx, collect) })
	}
	all.Wait()
	return list, errors.Join(errs...)
}

// cpu returns the seconds that both sides have used.
func (s *socketSoak) cpu() (servers, clients float64) {
	for _, server := range s.servers {
		t, _ := CPUOf(server.PID())
		servers += t.Seconds()
	}
	for _, p := range s.clients {
		t, _ := CPUOf(p.PID())
		clients += t.Seconds()
	}
	return servers, clients
}

func cpuIn(list []*Snapshot) (seconds float64) {
	for _, shot := range list {
		seconds += shot.Process.CPUSeconds
	}
	return seconds
}

func (s *socketSoak) residentClients(side *SoakSide) {
	for _, p := range s.clients {
		side.RSS += ResidentOf(p.PID())
		side.RSSPeak += peakOf(p.PID())
	}
}

// await waits until every client process has carried out an order.
func (s *socketSoak) await(ctx context.Context, do string, tell func(open uint64)) error {
	ticker := time.NewTicker(newsEvery / 5)
	defer ticker.Stop()
	for {
		opened, done := uint64(0), 0
		for _, p := range s.clients {
			n := p.latest()
			if n.Error != "" {
				return errors.New(n.Error)
			}
			opened += uint64(n.Opened)
			if p.did(do) {
				done++
			}
		}
		if tell != nil {
			tell(opened)
		}
		if done == len(s.clients) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.lost:
			return err
		}
	}
}

func (s *socketSoak) orderAll(do string) error {
	for _, p := range s.clients {
		if err := p.order(soakOrder{Do: do}); err != nil {
			return err
		}
	}
	return nil
}

// retried returns how often the clients tried again to connect.
func (s *socketSoak) retried() (n uint64) {
	for _, p := range s.clients {
		n += p.latest().Retried
	}
	return n
}

// pings returns how many pings the clients have told of.
func (s *socketSoak) pings() (n uint64) {
	for _, p := range s.clients {
		n += p.latest().Pings
	}
	return n
}

// watch tells lost when a process ends before its time.
func (s *socketSoak) watch(c *child, who string) {
	go func() {
		<-c.exited
		select {
		case s.lost <- fmt.Errorf("%s %w", who, c.ended()):
		default: // another was first
		}
	}()
}

// stop ends the clients, whose sockets end with them, and then the servers, which have few left to close by then.
func (s *socketSoak) stop() error {
	var errs []error
	for _, p := range s.clients {
		p.in.Close()
	}
	for _, p := range s.clients {
		errs = append(errs, p.wait("a client process", goneTime))
	}
	stopped := make([]error, len(s.servers))
	var all sync.WaitGroup
	for i, server := range s.servers {
		all.Go(func() { stopped[i] = server.Stop() })
	}
	all.Wait()
	return errors.Join(append(errs, stopped...)...)
}
