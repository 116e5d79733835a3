package shell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	probing "github.com/prometheus-community/pro-bing"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ichor/applets"
)

// ipCommand is one run of ip: what is common to its objects.
type ipCommand struct {
	c      *call
	family int
	brief  bool
	words  []string // what is left of the arguments
}

func showNetwork(_ context.Context, c *call) error {
	p := &ipCommand{c: c, family: netlink.FAMILY_ALL, words: c.args}
	for len(p.words) > 0 && strings.HasPrefix(p.words[0], "-") {
		switch p.words[0] {
		case "-4":
			p.family = netlink.FAMILY_V4
		case "-6":
			p.family = netlink.FAMILY_V6
		case "-br", "-brief":
			p.brief = true
		default:
			return applets.Usagef("unknown option %q", p.words[0])
		}
		p.words = p.words[1:]
	}
	object, _ := p.next()
	switch {
	case object == "" || abbreviates(object, "address"):
		return p.address()
	case abbreviates(object, "link"):
		return p.link()
	case abbreviates(object, "route"):
		return p.route()
	case abbreviates(object, "neighbour"), abbreviates(object, "neighbor"):
		return p.neighbours()
	}
	return applets.Usagef("unknown object %q; use address, link, route or neighbour", object)
}

func abbreviates(short, long string) bool { return short != "" && strings.HasPrefix(long, short) }

func (p *ipCommand) next() (string, bool) {
	if len(p.words) == 0 {
		return "", false
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w, true
}

// verb returns the verb of the command, "show" if there is none.
func (p *ipCommand) verb(verbs ...string) (string, error) {
	word, ok := p.next()
	if !ok || abbreviates(word, "show") || word == "list" || word == "ls" {
		return "show", nil
	}
	for _, v := range verbs {
		if word == v || (len(word) > 2 && abbreviates(word, v)) {
			return v, nil
		}
	}
	return "", applets.Usagef("unknown verb %q; use show, %s", word, strings.Join(verbs, ", "))
}

// pairs reads the rest of the arguments as pairs such as "dev eth0".
func (p *ipCommand) pairs(names ...string) (map[string]string, error) {
	found := map[string]string{}
	for len(p.words) > 0 {
		name, _ := p.next()
		value, ok := p.next()
		if !slices.Contains(names, name) || !ok {
			return nil, applets.Usagef("unexpected %q; known are: %s, each with a value", name, strings.Join(names, ", "))
		}
		found[name] = value
	}
	return found, nil
}

// linkNamed finds a network interface.
func linkNamed(name string) (netlink.Link, error) {
	if name == "" {
		return nil, applets.Usagef("name an interface with dev NAME; ip link lists them")
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("cannot find the interface %q: %w; ip link lists them", name, err)
	}
	return link, nil
}

func (p *ipCommand) link() error {
	verb, err := p.verb("set")
	if err != nil {
		return err
	}
	name, _ := p.next()
	if name == "dev" {
		name, _ = p.next()
	}
	if verb == "show" {
		return p.eachLink(name, func(l netlink.Link) error { return p.printLink(l, false) })
	}
	link, err := linkNamed(name)
	if err != nil {
		return err
	}
	if len(p.words) == 0 {
		return applets.Usagef("say what to set: up, down, mtu N, address MAC, name NAME or master NAME")
	}
	for len(p.words) > 0 {
		what, _ := p.next()
		if err := p.setLink(link, what); err != nil {
			return err
		}
	}
	return nil
}

// setLink changes one property of an interface.
func (p *ipCommand) setLink(link netlink.Link, what string) error {
	name := link.Attrs().Name
	value := ""
	if what != "up" && what != "down" && what != "nomaster" {
		value, _ = p.next()
	}
	var err error
	switch what {
	case "up":
		err = netlink.LinkSetUp(link)
	case "down":
		err = netlink.LinkSetDown(link)
	case "mtu":
		var n int
		if n, err = strconv.Atoi(value); err != nil {
			return applets.Usagef("%q is not an MTU", value)
		}
		err = netlink.LinkSetMTU(link, n)
	case "address":
		mac, merr := net.ParseMAC(value)
		if merr != nil {
			return applets.Usagef("%q is not a hardware address", value)
		}
		err = netlink.LinkSetHardwareAddr(link, mac)
	case "name":
		err = netlink.LinkSetName(link, value)
	case "master":
		master, merr := linkNamed(value)
		if merr != nil {
			return merr
		}
		err = netlink.LinkSetMasterByIndex(link, master.Attrs().Index)
	case "nomaster":
		err = netlink.LinkSetNoMaster(link)
	default:
		return applets.Usagef("unknown property %q; use up, down, mtu, address, name, master or nomaster", what)
	}
	if err != nil {
		return fmt.Errorf("cannot set %s of %s: %w", strings.TrimSpace(what+" "+value), name, err)
	}
	return nil
}

// eachLink calls fn for one interface, or for all if name is empty.
func (p *ipCommand) eachLink(name string, fn func(netlink.Link) error) error {
	if name != "" {
		link, err := linkNamed(name)
		if err != nil {
			return err
		}
		return fn(link)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("cannot list the interfaces: %w", err)
	}
	for _, l := range links {
		if err := fn(l); err != nil {
			return err
		}
	}
	return nil
}

func (p *ipCommand) printLink(l netlink.Link, addresses bool) error {
	a := l.Attrs()
	state := strings.ToUpper(a.OperState.String())
	var list []netlink.Addr
	if addresses {
		var err error
		if list, err = netlink.AddrList(l, p.family); err != nil {
			return fmt.Errorf("cannot list the addresses of %s: %w", a.Name, err)
		}
	}
	if p.brief {
		cells := []string{a.HardwareAddr.String()}
		if addresses {
			cells = nil
			for _, x := range list {
				cells = append(cells, x.IPNet.String())
			}
		}
		fmt.Fprintln(p.c.out, strings.TrimRight(fmt.Sprintf("%-16s %-10s %s", a.Name, state, strings.Join(cells, " ")), " "))
		return nil
	}
	fmt.Fprintf(p.c.out, "%d: %s: <%s> mtu %d state %s\n", a.Index, a.Name, linkFlags(a), a.MTU, state)
	if len(a.HardwareAddr) > 0 {
		fmt.Fprintf(p.c.out, "    link/%s %s\n", a.EncapType, a.HardwareAddr)
	}
	for _, x := range list {
		family := "inet"
		if x.IP.To4() == nil {
			family = "inet6"
		}
		fmt.Fprintf(p.c.out, "    %s %s scope %s\n", family, x.IPNet, scopeName(x.Scope))
	}
	return nil
}

// linkFlags names the flags that matter, as iproute2 writes them.
func linkFlags(a *netlink.LinkAttrs) string {
	names := []struct {
		flag uint32
		name string
	}{
		{unix.IFF_LOOPBACK, "LOOPBACK"}, {unix.IFF_BROADCAST, "BROADCAST"}, {unix.IFF_POINTOPOINT, "POINTOPOINT"},
		{unix.IFF_MULTICAST, "MULTICAST"}, {unix.IFF_NOARP, "NOARP"}, {unix.IFF_PROMISC, "PROMISC"},
		{unix.IFF_UP, "UP"}, {unix.IFF_LOWER_UP, "LOWER_UP"},
	}
	var set []string
	if a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOWER_UP == 0 {
		set = append(set, "NO-CARRIER")
	}
	for _, n := range names {
		if a.RawFlags&n.flag != 0 {
			set = append(set, n.name)
		}
	}
	return strings.Join(set, ",")
}

func scopeName(scope int) string {
	switch scope {
	case unix.RT_SCOPE_UNIVERSE:
		return "global"
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	}
	return strconv.Itoa(scope)
}

func (p *ipCommand) address() error {
	verb, err := p.verb("add", "del", "replace", "flush")
	if err != nil {
		return err
	}
	if verb == "show" || verb == "flush" {
		name, _ := p.next()
		if name == "dev" {
			name, _ = p.next()
		}
		if verb == "show" {
			return p.eachLink(name, func(l netlink.Link) error { return p.printLink(l, true) })
		}
		return p.flush(name)
	}
	text, _ := p.next()
	addr, err := parseAddress(text)
	if err != nil {
		return err
	}
	options, err := p.pairs("dev", "peer", "broadcast", "brd")
	if err != nil {
		return err
	}
	link, err := linkNamed(options["dev"])
	if err != nil {
		return err
	}
	change := map[string]func(netlink.Link, *netlink.Addr) error{"add": netlink.AddrAdd, "del": netlink.AddrDel, "replace": netlink.AddrReplace}[verb]
	if err := change(link, addr); err != nil {
		return fmt.Errorf("cannot %s the address %s on %s: %w", verb, addr.IPNet, options["dev"], err)
	}
	return nil
}

func (p *ipCommand) flush(name string) error {
	link, err := linkNamed(name)
	if err != nil {
		return err
	}
	list, err := netlink.AddrList(link, p.family)
	if err != nil {
		return fmt.Errorf("cannot list the addresses of %s: %w", name, err)
	}
	for _, a := range list {
		if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("cannot del the address %s on %s: %w", a.IPNet, name, err)
		}
	}
	return nil
}

// parseAddress parses an address with or without the length of its prefix.
func parseAddress(text string) (*netlink.Addr, error) {
	n, err := parsePrefix(text)
	if err != nil {
		return nil, err
	}
	return &netlink.Addr{IPNet: n}, nil
}

// parsePrefix parses 10.0.0.1/24; without a length it is a single address.
func parsePrefix(text string) (*net.IPNet, error) {
	if ip, n, err := net.ParseCIDR(text); err == nil {
		return &net.IPNet{IP: ip, Mask: n.Mask}, nil
	}
	ip := net.ParseIP(text)
	if ip == nil {
		return nil, applets.Usagef("%q is not an address such as 10.0.0.1/24", text)
	}
	bits := 128
	if ip.To4() != nil {
		ip, bits = ip.To4(), 32
	}
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)}, nil
}

func (p *ipCommand) route() error {
	verb, err := p.verb("add", "del", "replace")
	if err != nil {
		return err
	}
	if verb == "show" {
		options, err := p.pairs("dev", "table")
		if err != nil {
			return err
		}
		return p.showRoutes(options)
	}
	text, _ := p.next()
	r, err := p.parseRoute(text)
	if err != nil {
		return err
	}
	if verb == "del" {
		r.Scope = netlink.SCOPE_NOWHERE // which the kernel reads as any
	}
	change := map[string]func(*netlink.Route) error{"add": netlink.RouteAdd, "del": netlink.RouteDel, "replace": netlink.RouteReplace}[verb]
	if err := change(r); err != nil {
		return fmt.Errorf("cannot %s the route to %s: %w", verb, text, err)
	}
	return nil
}

func (p *ipCommand) parseRoute(to string) (*netlink.Route, error) {
	r := &netlink.Route{Family: p.family}
	options, err := p.pairs("via", "dev", "src", "metric", "table", "scope")
	if err != nil {
		return nil, err
	}
	if to != "default" {
		if r.Dst, err = parsePrefix(to); err != nil {
			return nil, err
		}
		r.Dst.IP = r.Dst.IP.Mask(r.Dst.Mask)
	}
	for name, target := range map[string]*net.IP{"via": &r.Gw, "src": &r.Src} {
		if text := options[name]; text != "" {
			if *target = net.ParseIP(text); *target == nil {
				return nil, applets.Usagef("%q is not an address", text)
			}
		}
	}
	for name, target := range map[string]*int{"metric": &r.Priority, "table": &r.Table} {
		if text := options[name]; text != "" {
			if *target, err = strconv.Atoi(text); err != nil {
				return nil, applets.Usagef("%q is not a number", text)
			}
		}
	}
	if options["dev"] != "" {
		link, err := linkNamed(options["dev"])
		if err != nil {
			return nil, err
		}
		r.LinkIndex = link.Attrs().Index
	}
	if r.Gw == nil {
		r.Scope = netlink.SCOPE_LINK
	}
	return r, nil
}

func (p *ipCommand) showRoutes(options map[string]string) error {
	filter, mask := &netlink.Route{Table: unix.RT_TABLE_MAIN}, uint64(netlink.RT_FILTER_TABLE)
	if t := options["table"]; t != "" && t != "main" {
		n, err := strconv.Atoi(t)
		if err != nil {
			return applets.Usagef("%q is not the number of a table", t)
		}
		filter.Table = n
	}
	if options["dev"] != "" {
		link, err := linkNamed(options["dev"])
		if err != nil {
			return err
		}
		filter.LinkIndex, mask = link.Attrs().Index, mask|netlink.RT_FILTER_OIF
	}
	family := p.family
	if family == netlink.FAMILY_ALL {
		family = netlink.FAMILY_V4
	}
	routes, err := netlink.RouteListFiltered(family, filter, mask)
	if err != nil {
		return fmt.Errorf("cannot list the routes: %w", err)
	}
	for _, r := range routes {
		fmt.Fprintln(p.c.out, routeText(r))
	}
	return nil
}

// routeText writes a route the way it would be typed.
func routeText(r netlink.Route) string {
	text := "default"
	if r.Dst != nil {
		if ones, _ := r.Dst.Mask.Size(); ones > 0 || !r.Dst.IP.IsUnspecified() {
			text = r.Dst.String()
		}
	}
	if r.Gw != nil {
		text += " via " + r.Gw.String()
	}
	if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil && r.LinkIndex > 0 {
		text += " dev " + link.Attrs().Name
	}
	if r.Src != nil {
		text += " src " + r.Src.String()
	}
	if r.Priority > 0 {
		text += fmt.Sprintf(" metric %d", r.Priority)
	}
	return text
}

func (p *ipCommand) neighbours() error {
	if verb, err := p.verb(); err != nil || verb != "show" {
		return err
	}
	list, err := netlink.NeighList(0, p.family)
	if err != nil {
		return fmt.Errorf("cannot list the neighbours: %w", err)
	}
	states := map[int]string{netlink.NUD_REACHABLE: "REACHABLE", netlink.NUD_STALE: "STALE", netlink.NUD_DELAY: "DELAY", netlink.NUD_PROBE: "PROBE",
		netlink.NUD_FAILED: "FAILED", netlink.NUD_INCOMPLETE: "INCOMPLETE", netlink.NUD_PERMANENT: "PERMANENT"}
	for _, n := range list {
		if n.State == netlink.NUD_NOARP {
			continue
		}
		name := strconv.Itoa(n.LinkIndex)
		if link, err := netlink.LinkByIndex(n.LinkIndex); err == nil {
			name = link.Attrs().Name
		}
		fmt.Fprintf(p.c.out, "%s dev %s lladdr %s %s\n", n.IP, name, n.HardwareAddr, states[n.State])
	}
	return nil
}

func pingHost(ctx context.Context, c *call) error {
	flags := c.flags()
	count := flags.IntP("count", "c", 0, "stop after `N` requests; without it ctrl-C stops")
	interval := flags.Float64P("interval", "i", 1, "seconds between requests")
	deadline := flags.Float64P("deadline", "w", 0, "stop after so many seconds")
	wait := flags.Float64P("timeout", "W", 5, "with -c, how many seconds to wait for the last answer")
	size := flags.IntP("size", "s", 56, "bytes to send")
	ttl := flags.IntP("ttl", "t", 64, "how many routers a request may pass")
	source := flags.StringP("interface", "I", "", "the address or interface to send from")
	flags.BoolP("ipv4", "4", false, "use IPv4")
	v6 := flags.BoolP("ipv6", "6", false, "use IPv6")
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() != 1 || *interval < 0.01 || *size < 24 || *size > 65000 || *ttl < 1 || *ttl > 255 {
		return applets.Usagef("name one host; the interval is at least 0.01, the size 24 to 65000, the ttl 1 to 255")
	}
	p := probing.New(flags.Arg(0))
	p.SetLogger(probing.NoopLogger{})
	p.SetPrivileged(os.Geteuid() == 0) // else by the sockets that the kernel allows to groups
	p.SetNetwork(map[bool]string{false: "ip4", true: "ip6"}[*v6 || isIPv6(flags.Arg(0))])
	p.Interval, p.Size, p.TTL = seconds(*interval), *size, *ttl
	if net.ParseIP(*source) != nil {
		p.Source = *source
	} else {
		p.InterfaceName = *source
	}
	if *count > 0 {
		p.Count = *count
		p.Timeout = time.Duration(*count-1)*p.Interval + seconds(*wait)
	}
	if *deadline > 0 {
		p.Timeout = seconds(*deadline)
	}
	return c.ping(ctx, p)
}

func isIPv6(host string) bool { return strings.Contains(host, ":") }

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// ping runs the requests and prints what comes back. An interruption is the
// usual end of a ping: it prints the statistics then too.
func (c *call) ping(ctx context.Context, p *probing.Pinger) error {
	if err := p.Resolve(); err != nil {
		return fmt.Errorf("cannot find the host %q: %w", p.Addr(), err)
	}
	p.OnRecv = func(r *probing.Packet) {
		fmt.Fprintf(c.out, "%d bytes from %s: icmp_seq=%d ttl=%d time=%.3g ms\n", r.Nbytes, r.IPAddr, r.Seq+1, r.TTL, milliseconds(r.Rtt))
	}
	fmt.Fprintf(c.out, "PING %s (%s): %d bytes\n", p.Addr(), p.IPAddr(), p.Size)
	err := p.RunWithContext(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("cannot ping %s: %w", p.Addr(), err)
	}
	s := p.Statistics()
	out := unguarded(c.out)
	fmt.Fprintf(out, "\n--- %s: %d sent, %d received, %.0f%% lost\n", p.Addr(), s.PacketsSent, s.PacketsRecv, s.PacketLoss)
	if s.PacketsRecv > 0 {
		fmt.Fprintf(out, "round trip min/avg/max = %.3f/%.3f/%.3f ms\n", milliseconds(s.MinRtt), milliseconds(s.AvgRtt), milliseconds(s.MaxRtt))
		return nil
	}
	c.code = 1
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
