package export

var vpn = form{
	root: "VpnConfig",
	elements: []element{
		{name: "ServerBuildVersion", key: "version"},
		{name: "SplitTunnel", key: "policy.split_tunnel",
			words:    []word{{"off", "OFF"}, {"on", "ON"}, {"reverse", "REVERSE"}},
			standard: constant("OFF")},
		{name: "SplitDNS", key: "policy.split_dns",
			words:    []word{{"both", "BOTH"}, {"remote", "REMOTE"}, {"local", "LOCAL"}},
			standard: constant("BOTH")},
	},
}

// VPNConfig writes the settings as the configuration that a hub holds: what to
// send through the gateway, and whose DNS to ask. Errors are *Error.
func VPNConfig(s Settings) ([]byte, error) { return vpn.write(s) }

// ParseVPNConfig reads what VPNConfig writes. Errors are *Error.
func ParseVPNConfig(file []byte) (Settings, error) { return vpn.read(file) }
