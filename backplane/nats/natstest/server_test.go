package natstest

import (
	"fmt"
	"net"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer is an embedded server that can be stopped and started again on its port.
type natsServer struct {
	*server.Server
	t       testing.TB
	options *server.Options
}

// newServer returns one that has not been started, on a port that is free.
func newServer(t testing.TB, change ...func(*server.Options)) *natsServer {
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	for _, f := range change {
		f(o)
	}
	s := &natsServer{t: t, options: o}
	t.Cleanup(s.stop)
	s.start() // so that it has a port
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	o := s.options.Clone()
	srv, err := server.NewServer(o)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		s.t.Fatal("the server does not start")
	}
	s.Server = srv
	s.options.Port = portOf(srv)
}

func (s *natsServer) stop() {
	if s.Server != nil {
		s.Shutdown()
		s.WaitForShutdown()
		s.Server = nil
	}
}

func (s *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port) }

// client returns what the server knows of the connection with that name.
func (s *natsServer) client(name string) *server.ConnInfo {
	s.t.Helper()
	list, err := s.Connz(&server.ConnzOptions{Subscriptions: true})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range list.Conns {
		if c.Name == name {
			return c
		}
	}
	s.t.Fatalf("no connection called %q", name)
	return nil
}

func portOf(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }
