package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sinkVariable holds the settings of the sink, which is this program once more,
// in the namespace beyond the city.
const sinkVariable = "CITYWARD_TEST_SINK"

type sinkSettings struct {
	Report      string         // Unix socket that tells what came
	Addresses   []string       // where datagrams may come to
	First, Last int            // ports
	Forward     map[int]string // ports whose connections go on to another server
}

// arrival is what came to one port.
type arrival struct {
	Bytes uint64
	First time.Time
}

type sink struct {
	sinkSettings
	tls  *tls.Config
	mu   sync.Mutex
	came map[int]arrival
}

// runSink takes whatever comes and counts it; TestMain calls it in a child.
func runSink() int {
	if err := serveSink(); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
	}
	return 1
}

func serveSink() error {
	s := &sink{came: make(map[int]arrival)}
	if err := json.Unmarshal([]byte(os.Getenv(sinkVariable)), &s.sinkSettings); err != nil {
		return err
	}
	var err error
	if s.tls, err = selfSigned(); err != nil {
		return err
	}
	for port := s.First; port <= s.Last; port++ {
		listener, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err != nil {
			return err
		}
		go s.connections(listener, port)
		for _, address := range s.Addresses {
			conn, err := net.ListenPacket("udp", net.JoinHostPort(address, strconv.Itoa(port)))
			if err != nil {
				return err
			}
			if err := conn.(*net.UDPConn).SetReadBuffer(1 << 20); err != nil {
				return err
			}
			go s.datagrams(conn, port)
		}
	}
	report, err := net.Listen("unix", s.Report)
	if err != nil {
		return err
	}
	for {
		conn, err := report.Accept()
		if err != nil {
			return err
		}
		s.mu.Lock()
		text, err := json.Marshal(s.came)
		s.mu.Unlock()
		if err != nil {
			return err
		}
		_, _ = conn.Write(text) // whoever asked may have gone
		conn.Close()
	}
}

func selfSigned() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, err
}

func (s *sink) count(port, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.came[port]
	if at.First.IsZero() && n > 0 {
		at.First = time.Now()
	}
	at.Bytes += uint64(n)
	s.came[port] = at
}

// datagrams answers each with itself.
func (s *sink) datagrams(conn net.PacketConn, port int) {
	buffer := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		s.count(port, n)
		_, _ = conn.WriteTo(buffer[:n], from)
	}
}

func (s *sink) connections(listener net.Listener, port int) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			counted := &countedConn{conn, func(n int) { s.count(port, n) }}
			if to := s.Forward[port]; to != "" {
				forward(counted, to)
				return
			}
			s.serve(counted)
		}()
	}
}

// countedConn tells what is read from it.
type countedConn struct {
	net.Conn
	count func(int)
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.count(n)
	return n, err
}

func forward(conn net.Conn, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, conn)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(conn, server)
}

// serve understands TLS and HTTP where somebody speaks them.
func (s *sink) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	head, _ := reader.Peek(4) // fewer are no request
	const handshake = 22
	switch {
	case len(head) > 0 && head[0] == handshake:
		s.serve(tls.Server(&readAgain{conn, reader}, s.tls))
	case bytes.HasPrefix(head, []byte("GET ")), bytes.HasPrefix(head, []byte("PUT ")), bytes.HasPrefix(head, []byte("POST")):
		for answer(conn, reader) {
		}
	default:
		_, _ = io.Copy(io.Discard, reader)
	}
}

// readAgain is a connection of which something was read.
type readAgain struct {
	net.Conn
	from io.Reader
}

func (r *readAgain) Read(b []byte) (int, error) { return r.from.Read(b) }

// answer says yes to everything but the files of a package archive that it has not.
func answer(conn net.Conn, reader *bufio.Reader) bool {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return false
	}
	if request.Header.Get("Expect") != "" {
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return false
	}
	text := "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
	switch name := path.Base(request.URL.Path); {
	case name == "Packages":
		text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	case strings.HasSuffix(name, "Release"), strings.HasPrefix(name, "Packages"):
		text = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
	}
	_, err = io.WriteString(conn, text)
	return err == nil && !request.Close
}

// arrivals asks a sink what came.
func arrivals(report string) (map[int]arrival, error) {
	conn, err := net.Dial("unix", report)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var came map[int]arrival
	err = json.NewDecoder(conn).Decode(&came)
	return came, err
}
