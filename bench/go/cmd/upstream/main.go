// Command upstream is the vendor of this benchmark: an HTTPS server that accepts every well-formed push at once, and a
// cleartext sink for OTLP/HTTP traces that counts what it gets. Its CA exists for one run and is written to --ca-file.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/push-sidecar/push-sidecar/bench/go/internal/xg"
)

// A push in this many is read in full; of the others only the bytes are read, so that the upstream stays cheap.
const checkEvery = 64

// The vendor's own limit of a list.
const maxTargets = 1000

func main() {
	caFile := flag.String("ca-file", "", "where to write the CA certificate (required)")
	flag.Parse()
	if *caFile == "" {
		log.Fatal("--ca-file is required")
	}
	certificate, ca, err := certificates()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*caFile, ca, 0o600); err != nil {
		log.Fatal(err)
	}

	var pushes, exports, exportedBytes atomic.Int64
	answers := make([]string, maxTargets+1) // by the number of targets
	for targets := 1; targets <= maxTargets; targets++ {
		answers[targets] = xg.Answer(targets)
	}
	vendor := http.NewServeMux()
	vendor.HandleFunc("POST "+xg.Path, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != xg.AppID || password != xg.SecretKey {
			http.Error(w, "wrong credentials", http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err == nil && pushes.Add(1)%checkEvery == 1 {
			err = xg.CheckBody(body)
		}
		targets := xg.Targets(body)
		if err == nil && targets > maxTargets {
			err = fmt.Errorf("%d targets", targets)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answers[targets]) // a client that is gone counts its own error
	})
	sink := http.NewServeMux()
	sink.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		exports.Add(1)
		exportedBytes.Add(n)
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty body is an empty ExportTraceServiceResponse
	})
	sink.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]int64{
			"pushes": pushes.Load(), "trace_exports": exports.Load(), "trace_bytes": exportedBytes.Load(),
		})
	})

	https := &http.Server{
		Handler: vendor,
		// HTTP/1.1 alone, so that every client does the same work: httpx and aiohttp speak nothing else by default.
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ReadTimeout:  0, // kept connections may rest between two rounds
	}
	cleartext := &http.Server{Handler: sink, ReadHeaderTimeout: 10 * time.Second}
	httpsListener, cleartextListener := listen(), listen()
	go func() { log.Fatal(https.ServeTLS(httpsListener, "", "")) }()
	go func() { log.Fatal(cleartext.Serve(cleartextListener)) }()
	fmt.Printf("{\"https\": \"https://%s\", \"otlp\": \"http://%s\"}\n", httpsListener.Addr(), cleartextListener.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

// certificates makes a CA, and a certificate of it for 127.0.0.1 and localhost.
func certificates() (tls.Certificate, []byte, error) {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "push-sidecar benchmark CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	// The made certificate has a key identifier, which its template lacks; Python 3.13 wants to see it in the leaf.
	made, err := x509.ParseCertificate(caDER)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, made, &leafKey.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, caPEM, nil
}
