package bench

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"
)

// SoakLimits are what a system has for connections. ReadSoakLimits fills them in.
type SoakLimits struct {
	Files        uint64 // descriptors that a process may have: RLIMIT_NOFILE, the hard limit, which Go raises the other to
	SystemFiles  uint64 // and all processes: fs.file-max less what is open
	Watches      uint64 // descriptors that a user may have in epoll: fs.epoll.max_user_watches
	FirstPort    int    // of the ports that connect chooses from: net.ipv4.ip_local_port_range
	LastPort     int
	Backlog      uint64 // connections that wait to be accepted: net.core.somaxconn
	SocketMemory uint64 // bytes that may stand in TCP's buffers: net.ipv4.tcp_mem, the last of its numbers
	Memory       uint64 // bytes of memory that are free or can be freed
}

// SoakPlan says how a soak over sockets is laid out: how many processes it takes, and where clients come from.
type SoakPlan struct {
	Conns     int
	Servers   int // processes that share the port
	Clients   int // processes; the last may have fewer connections than the others
	PerClient int // connections of each
	Addresses int // source addresses of each
	Needs     []SoakNeed
}

// SoakNeed is one thing that a soak needs of the system.
type SoakNeed struct {
	Name   string // of the limit
	Need   uint64 // in pieces or bytes
	Have   uint64
	Unit   string // as they are written
	Advice string // how to raise it
	Fits   int    // connections for which Have is enough
	Must   bool   // without it connections would fail; otherwise they would be slow to open, or slowed down
}

// Missing reports whether there is less than is needed.
func (n *SoakNeed) Missing() bool { return n.Have < n.Need }

const (
	unitBytes = "MiB"
	freeSome  = "end what else runs here"

	// serverReserve is what the engine leaves of the limit of descriptors; clientReserve is for sockets being dialed, of
	// which each has two for a moment.
	serverReserve, clientReserve = 64, 128
	// maxProcesses is more than a machine without room for so many descriptors in one process has use for.
	maxProcesses = 256
	// What a connection takes: two sockets, with their inodes, files and watches, in the kernel; the server's end and the
	// client's, with room for the collector. And what a process takes by itself.
	kernelPerConn, serverPerConn, clientPerConn = 10 << 10, 600, 3 << 10
	memoryPerConn                               = 512 // of a soak in memory
	perProcess                                  = 24 << 20
	// systemFiles are those of a process that has no connections.
	systemFiles = 32
	// dialersAtOnce are the connections being opened at once over all processes.
	dialersAtOnce = 256
)

// PlanSoakMemory says what a soak in memory needs, which is memory.
func PlanSoakMemory(conns int, l SoakLimits) SoakPlan {
	have := leftOf(l.Memory, perProcess)
	return SoakPlan{Conns: conns, Needs: []SoakNeed{{
		Name: "memory", Need: uint64(conns)*memoryPerConn + perProcess, Have: l.Memory, Unit: unitBytes, Advice: freeSome,
		Fits: int(min(have/memoryPerConn, math.MaxInt32)), Must: true,
	}}}
}

// PlanSoak lays out a soak of so many connections under the limits given. processes is how many servers, and as many
// clients, are wanted; 0: as few as the limits allow.
func PlanSoak(conns, processes int, l SoakLimits) SoakPlan {
	p := SoakPlan{Conns: conns, Servers: processes, Clients: processes}
	if processes == 0 {
		p.Servers = fewest(func(n int) bool { return mostShared(conns, n)+serverReserve <= int(min(l.Files, 1<<40)) })
		p.Clients = fewest(func(n int) bool { return ceilDiv(conns, n)+clientReserve <= int(min(l.Files, 1<<40)) })
	}
	p.Clients = min(p.Clients, conns)
	p.PerClient = ceilDiv(conns, p.Clients)
	p.Clients = ceilDiv(conns, p.PerClient) // or the last would have none
	p.Addresses = ceilDiv(p.PerClient, max(halfOf(l.FirstPort, l.LastPort), 1))
	all := p.Servers + p.Clients
	need := func(name string, need, have uint64, unit, advice string, fits uint64, must bool) {
		p.Needs = append(p.Needs, SoakNeed{name, need, have, unit, advice, int(min(fits, math.MaxInt32)), must})
	}
	need("RLIMIT_NOFILE", uint64(max(mostShared(conns, p.Servers)+serverReserve, p.PerClient+clientReserve)), l.Files,
		"files in each process", "ulimit -n, or LimitNOFILE= of systemd", uint64(mostWithin(p.Servers, processes, l.Files)), true)
	need("fs.file-max", uint64(2*conns+systemFiles*all), l.SystemFiles, "more files in all",
		fmt.Sprintf("sysctl -w fs.file-max=%d more than fs.file-nr says are open", 2*conns+systemFiles*all),
		leftOf(l.SystemFiles, systemFiles*all)/2, true)
	need("fs.epoll.max_user_watches", uint64(2*conns), l.Watches, "watched files",
		fmt.Sprintf("sysctl -w fs.epoll.max_user_watches=%d", 2*conns), l.Watches/2, true)
	need("net.ipv4.ip_local_port_range", uint64(p.PerClient/p.Addresses), uint64(max(l.LastPort-l.FirstPort+1, 0)), "ports on each source address",
		`sysctl -w net.ipv4.ip_local_port_range="10000 65535"`, math.MaxInt32, true)
	perConn := uint64(kernelPerConn + serverPerConn + clientPerConn)
	need("memory", perConn*uint64(conns)+uint64(perProcess*all), l.Memory, unitBytes, freeSome,
		leftOf(l.Memory, perProcess*all)/perConn, true)
	need("net.core.somaxconn", uint64(min(conns, dialersAtOnce)), l.Backlog, "connections waiting to be accepted",
		fmt.Sprintf("sysctl -w net.core.somaxconn=%d", dialersAtOnce), math.MaxInt32, false)
	// A page for each connection is far more than pings take that are on their way for some microseconds.
	need("net.ipv4.tcp_mem", uint64(conns)<<12, l.SocketMemory, unitBytes+" for buffers, were all pings on their way at once",
		"the last number of sysctl net.ipv4.tcp_mem, in pages", l.SocketMemory>>12, false)
	return p
}

// mostShared is how many of conns connections the fullest of n processes gets that share a port: the kernel picks one by a
// hash of the addresses, as dice would. Five standard deviations are exceeded by one in three million.
func mostShared(conns, n int) int {
	if n == 1 {
		return conns
	}
	mean := float64(conns) / float64(n)
	return min(conns, int(math.Ceil(mean+5*math.Sqrt(mean*(1-1/float64(n))))))
}

// fewest returns the least number of processes that will do, or maxProcesses.
func fewest(enough func(n int) bool) int {
	for n := 1; n < maxProcesses; n++ {
		if enough(n) {
			return n
		}
	}
	return maxProcesses
}

// mostWithin returns how many connections a process's limit of files allows: in so many processes when they are fixed, or
// in as many as there may be.
func mostWithin(servers, fixed int, files uint64) int {
	n := maxProcesses
	if fixed > 0 {
		n = servers
	}
	low, high := 0, n*int(min(files, 1<<20))
	for low < high {
		mid := (low + high + 1) / 2
		if max(mostShared(mid, n)+serverReserve, ceilDiv(mid, n)+clientReserve) <= int(min(files, 1<<40)) {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// halfOf returns half the number of ports: connect looks through one half of the range, and only when that is taken
// through the other, which takes it longer and longer.
func halfOf(first, last int) int { return (last - first + 1) / 2 }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func leftOf(have uint64, n int) uint64 { return have - min(have, uint64(n)) }

// Sources returns the source addresses of client process i: its own, of 127.1.0.0 and up.
func (p *SoakPlan) Sources(i int) (list []netip.Addr) {
	for j := range p.Addresses {
		n := i*p.Addresses + j
		list = append(list, netip.AddrFrom4([4]byte{127, byte(1 + n/254/254%254), byte(n / 254 % 254), byte(1 + n%254)}))
	}
	return list
}

// connsOf returns how many connections client process i opens.
func (p *SoakPlan) connsOf(i int) int { return min(p.PerClient, p.Conns-i*p.PerClient) }

// WriteText prints what the soak needs and what there is.
func (p *SoakPlan) WriteText(w io.Writer) error {
	out := &printer{w: w}
	if p.Servers > 0 {
		out.printf("plan         %s connections: %d server process%s on one port, %d client process%s, %d source address%s each\n",
			grouped(uint64(p.Conns)), p.Servers, es(p.Servers), p.Clients, es(p.Clients), p.Addresses, es(p.Addresses))
	}
	label := "needs"
	for _, n := range p.Needs {
		note := ""
		switch {
		case n.Missing() && n.Must:
			note = "   NOT ENOUGH"
		case n.Missing():
			note = "   little: slower"
		}
		need, have := n.amounts()
		out.printf("%-12s %-29s %s of %s %s%s\n", label, n.Name, need, have, n.Unit, note)
		label = ""
	}
	return out.err
}

// amounts writes what is needed and what there is in the need's unit.
func (n *SoakNeed) amounts() (need, have string) {
	unit := uint64(1)
	if strings.HasPrefix(n.Unit, unitBytes) {
		unit = 1 << 20
	}
	return grouped((n.Need + unit - 1) / unit), grouped(n.Have / unit)
}

func es(n int) string {
	if n == 1 {
		return ""
	}
	return "es"
}

// Err says politely what is missing, and how many connections would fit; nil when nothing is that must be there.
func (p *SoakPlan) Err() error {
	var missing []string
	fits := p.Conns
	for _, n := range p.Needs {
		if n.Must && n.Missing() {
			need, have := n.amounts()
			missing = append(missing, fmt.Sprintf("%s: %s %s are needed and there are %s; what helps: %s", n.Name, need, n.Unit, have, n.Advice))
			fits = min(fits, n.Fits)
		}
	}
	if missing == nil {
		return nil
	}
	return &SoakLimitError{Missing: missing, Fits: fits}
}

// SoakLimitError is returned for a soak that the system has no room for.
type SoakLimitError struct {
	Missing []string // what is missing, a sentence each
	Fits    int      // how many connections there is room for
}

// Error says so.
func (e *SoakLimitError) Error() string {
	s := "this system has no room for so many connections\n  " + strings.Join(e.Missing, "\n  ")
	if e.Fits > 0 {
		return s + fmt.Sprintf("\nas it is, --conns %d would fit", e.Fits)
	}
	return s
}
