// Command interop makes the pushes that it reads from standard input, so that one suite can test the callers of every
// language against the same sidecar: go run ./interop 127.0.0.1:50051 or unix:/path
//
// A second argument is how many pushes are made at the same time, 1 unless given. PUSH_TLS names a folder with ca.pem,
// cert.pem and key.pem, for mutual TLS.
//
// It owns the form of its lines, in and out, and nothing that a caller would need.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

type input struct {
	Name     string          `json:"name"`
	Request  json.RawMessage `json:"request"`
	TimeoutS *float64        `json:"timeout_s"`
}

type output struct {
	Name     string          `json:"name"`
	Code     string          `json:"code"`
	Message  string          `json:"message"`
	Response json.RawMessage `json:"response"`
	Error    *failure        `json:"error"`
	Details  []string        `json:"details"`
	Trailers []string        `json:"trailers"`
}

type failure struct {
	Reason      string      `json:"reason"`
	Sent        string      `json:"sent"`
	VendorCode  *int32      `json:"vendor_code"`
	HTTPStatus  *int        `json:"http_status"`
	Attempts    *int        `json:"attempts"`
	PushID      string      `json:"push_id"`
	RetryAfterS *float64    `json:"retry_after_s"`
	Violations  []violation `json:"violations"`
}

type violation struct {
	Field       string `json:"field"`
	Rule        string `json:"rule"`
	Description string `json:"description"`
}

func main() {
	inFlight := 1
	if len(os.Args) == 3 {
		inFlight, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) < 2 || len(os.Args) > 3 || inFlight < 1 {
		fmt.Fprintln(os.Stderr, "usage: interop TARGET [IN_FLIGHT]")
		os.Exit(2)
	}
	if err := run(os.Args[1], inFlight, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

// run makes the pushes, so many at the same time; it stops at the first line that is no push.
func run(target string, inFlight int, in io.Reader, out io.Writer) error {
	options, err := tlsOptions(os.Getenv("PUSH_TLS"))
	if err != nil {
		return err
	}
	conn, err := pushsidecar.Dial(target, options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := xgv1.NewPushServiceClient(conn)
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	pushes := &group{places: make(chan struct{}, inFlight)}
	var encoding sync.Mutex
	for {
		var line input
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return pushes.wait()
		} else if err != nil {
			return errors.Join(pushes.wait(), fmt.Errorf("input: %w", err))
		}
		request := &xgv1.PushRequest{}
		if err := protojson.Unmarshal(line.Request, request); err != nil {
			return errors.Join(pushes.wait(), fmt.Errorf("request of %q: %w", line.Name, err))
		}
		pushes.start(func() error {
			result, err := push(client, line, request)
			if err != nil {
				return fmt.Errorf("response of %q: %w", line.Name, err)
			}
			encoding.Lock()
			defer encoding.Unlock()
			return encoder.Encode(result)
		})
	}
}

// tlsOptions returns what a connection with mutual TLS needs, from a folder with ca.pem, cert.pem and key.pem; nothing
// without a folder.
func tlsOptions(folder string) ([]grpc.DialOption, error) {
	if folder == "" {
		return nil, nil
	}
	authorities, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, err
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authorities) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}
	return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}, nil
}

// group runs functions, as many at a time as it has places, and keeps what went wrong.
type group struct {
	places  chan struct{}
	running sync.WaitGroup
	mutex   sync.Mutex
	err     error
}

func (g *group) start(f func() error) {
	g.places <- struct{}{}
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		err := f()
		g.mutex.Lock()
		g.err = errors.Join(g.err, err)
		g.mutex.Unlock()
		<-g.places
	}()
}

func (g *group) wait() error {
	g.running.Wait()
	return g.err
}

func push(client xgv1.PushServiceClient, line input, request *xgv1.PushRequest) (output, error) {
	ctx := context.Background()
	if line.TimeoutS != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*line.TimeoutS*float64(time.Second)))
		defer cancel()
	}
	var trailer metadata.MD
	response, err := client.Push(ctx, request, grpc.Trailer(&trailer))

	result := output{Name: line.Name, Code: code.Code_OK.String(), Details: []string{}, Trailers: []string{}}
	// grpc-go gives the content-type of an answer that has no headers as a trailer; other libraries do not.
	delete(trailer, "content-type")
	for name := range trailer {
		result.Trailers = append(result.Trailers, name)
	}
	slices.Sort(result.Trailers)
	if err == nil {
		result.Response, err = protojson.Marshal(response)
		return result, err
	}
	for _, detail := range status.Convert(err).Proto().GetDetails() {
		_, name, _ := strings.Cut(detail.GetTypeUrl(), "/")
		result.Details = append(result.Details, name)
	}
	told := pushsidecar.ErrorOf(err)
	result.Code, result.Message, result.Error = code.Code(told.Code).String(), told.Message, failureOf(told)
	return result, nil
}

func failureOf(told *pushsidecar.Error) *failure {
	result := &failure{
		Reason: told.ReasonText, Sent: told.Sent.String(), VendorCode: told.VendorCode, PushID: told.PushID,
		HTTPStatus: known(told.HTTPStatus), Attempts: known(told.Attempts), Violations: []violation{},
	}
	if told.RetryAfter != nil {
		seconds := told.RetryAfter.Seconds()
		result.RetryAfterS = &seconds
	}
	for _, v := range told.Violations {
		result.Violations = append(result.Violations, violation(v))
	}
	return result
}

// known returns nil for 0, which stands for "not told".
func known(number int) *int {
	if number == 0 {
		return nil
	}
	return &number
}
