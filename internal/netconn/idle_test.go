package netconn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"runtime"
	"sync"
	"testing"

	"zeroframe/pool"
)

// waiting is a loop that waits for a message on each of many connections.
type waiting struct{ came sync.WaitGroup }

func (w *waiting) StreamReadable() { w.came.Done() }
func (w *waiting) StreamWritable() {}

// BenchmarkIdle reports what a Stream adds to a connection that waits for its second message: heap and stacks.
func BenchmarkIdle(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	for name, wrap := range map[string]func(server, client net.Conn) (s, c net.Conn){
		"tcp": func(server, client net.Conn) (s, c net.Conn) { return server, client },
		"tls": func(server, client net.Conn) (s, c net.Conn) {
			sc, cc := tls.Server(server, config), tls.Client(client, &tls.Config{InsecureSkipVerify: true})
			go sc.Handshake()
			if err := cc.Handshake(); err != nil {
				b.Fatal(err)
			}
			return sc, cc
		},
	} {
		b.Run(name, func(b *testing.B) {
			pool.Verify(false)
			defer pool.Verify(true)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			const n = 1000
			var servers, clients []net.Conn
			for range n {
				client, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				server, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				s, c := wrap(server, client)
				servers, clients = append(servers, s), append(clients, c)
			}
			loop := new(waiting)
			before := memory()
			streams := make([]*Stream, n)
			for i := range streams {
				loop.came.Add(1)
				streams[i] = New(servers[i])
				streams[i].ready = loop
				streams[i].Read(nil)
				clients[i].Write(make([]byte, 100))
			}
			loop.came.Wait()
			for _, s := range streams {
				loop.came.Add(1)
				s.Read(make([]byte, 200))
				s.Read(make([]byte, 200))
			}
			for b.Loop() {
				runtime.Gosched()
			}
			b.ReportMetric(float64(memory()-before)/n, "B/conn")
			for i, s := range streams {
				clients[i].Close()
				s.Close()
			}
		})
	}
}

// memory returns the bytes in use on the heap and in stacks.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
