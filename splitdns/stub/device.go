package stub

// Where a device finds its DNS service: inside a tunnel, with DNS over TCP (RFC
// 7766). The name lies in the domain that is kept for private use, so nobody
// else can come to own it. No server is ever asked for it.
const (
	DeviceDNS  = "dns.sallyport.internal"
	DevicePort = 53
)
