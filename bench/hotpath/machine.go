package main

import (
	"bufio"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine is where and when it was measured, and what.
type machine struct {
	Date      time.Time `json:"date"`
	CPU       string    `json:"cpu"`
	Cores     int       `json:"cores"`
	AES       bool      `json:"aes"` // instructions for it
	Memory    int       `json:"memory_gib"`
	Kernel    string    `json:"kernel"`
	Load      float64   `json:"load_average"` // of the last minute before the start
	Others    float64   `json:"others"`       // share of the processors that others had during the run
	Go        string    `json:"go"`           // of the naive gateway
	Sallyport string    `json:"sallyport"`

	before usage
}

// usage is processor time so far.
type usage struct {
	at        time.Time
	all, ours time.Duration
}

// lookAround is called first, before anything makes the machine busy.
func lookAround(now time.Time) machine {
	m := machine{Date: now.UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Kernel: kernel(), Go: runtime.Version(), before: used()}
	m.CPU, m.AES = processor("/proc/cpuinfo")
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory = memoryGiB(text)
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 0 {
			m.Load, _ = strconv.ParseFloat(fields[0], 64)
		}
	}
	return m
}

// lookBack is called when everything that was started has been waited for.
func (m *machine) lookBack() {
	now := used()
	if processors := now.at.Sub(m.before.at) * time.Duration(m.Cores); processors > 0 {
		others := (now.all - m.before.all) - (now.ours - m.before.ours)
		m.Others = max(0, float64(others)/float64(processors))
	}
}

// much is how many of the processors others may have.
const much = 0.1

// warnings say whether somebody else was at work.
func (m machine) warnings() (said []string) {
	if m.Load > 2*much*float64(m.Cores) {
		said = append(said, fmt.Sprintf("the load average was %.2f on %d cores at the start", m.Load, m.Cores))
	}
	if m.Others > much {
		said = append(said, fmt.Sprintf("other processes had %.0f %% of the processors during the run: ratios may hold, absolute figures do not", 100*m.Others))
	}
	return said
}

func processor(cpuinfo string) (model string, aes bool) {
	f, err := os.Open(cpuinfo)
	if err != nil {
		return "unknown", false
	}
	defer f.Close()
	model = "unknown"
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags", "Features":
			return model, strings.Contains(" "+value+" ", " aes ")
		}
	}
	return model, false
}

// describe names a sallyport binary by what it and its headers say.
func describe(ctx context.Context, binary string) (string, error) {
	said, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", binary, err)
	}
	text := strings.TrimSpace(string(said))
	if info, err := buildinfo.ReadFile(binary); err == nil && !strings.Contains(text, info.GoVersion) {
		text += ", built with " + info.GoVersion
	}
	return text, nil
}

func (m machine) print(w io.Writer) {
	aes := "with AES instructions"
	if !m.AES {
		aes = "without AES instructions"
	}
	fmt.Fprintf(w, "date       %s\n", m.Date.Format(time.RFC3339))
	fmt.Fprintf(w, "machine    %s, %d cores, %s; %s\n", m.CPU, m.Cores, aes, m.Kernel)
	fmt.Fprintf(w, "load       %.2f in the minute before; others had %.0f %% of the processors during the run\n", m.Load, 100*m.Others)
	fmt.Fprintf(w, "ours       %s\n", m.Sallyport)
	fmt.Fprintf(w, "naive      armon/go-socks5 over crypto/tls, %s\n", m.Go)
	fmt.Fprintf(w, "tunnels    TLS 1.3, AES-128-GCM, X25519, P-256 certificate, full handshakes; loopback\n")
}
