package pushsidecar

import (
	"testing"
	"time"
)

func TestPingsAreNotMoreFrequentThanTheSidecarPermits(t *testing.T) {
	const permitted = 20 * time.Second
	if keepaliveParameters.Time <= permitted || !keepaliveParameters.PermitWithoutStream {
		t.Errorf("%+v: pings must come every %v at most, and between calls too", keepaliveParameters, permitted)
	}
}
