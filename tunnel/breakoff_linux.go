package tunnel

import "golang.org/x/sys/unix"

// unsent is how many bytes, more or less, a connection's peer has not acknowledged, and
// may yet.
func unsent(fd int) int {
	const closed = 7 // TCP_CLOSE: it has failed, or both directions have ended
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State == closed {
		return 0
	}
	return int(info.Notsent_bytes) + int(info.Unacked)*int(info.Snd_mss)
}
