// Package vendor posts a body to the upstream over a pool of kept connections, as the Go programs of this benchmark do it.
package vendor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/push-sidecar/push-sidecar/bench/go/internal/xg"
)

// Client of one upstream.
type Client struct {
	http *http.Client
	url  string
}

// New trusts the CA of caFile alone and keeps up to maxConns connections (net/http's own default keeps 2 a host).
func New(baseURL, caFile string, maxConns int) (*Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + caFile)
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		MaxConnsPerHost:     maxConns,
		MaxIdleConns:        maxConns,
		MaxIdleConnsPerHost: maxConns,
		IdleConnTimeout:     15 * time.Second,
	}
	return &Client{http: &http.Client{Transport: transport, Timeout: 10 * time.Second}, url: baseURL + xg.Path}, nil
}

// Post sends one body and returns the answer's.
func (c *Client) Post(ctx context.Context, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(xg.AppID, xg.SecretKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", response.StatusCode, answer)
	}
	return answer, err
}
