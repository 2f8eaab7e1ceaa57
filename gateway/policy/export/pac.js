
// FindProxyForURL says how an application reaches a URL: through the gateway or
// straight out. It asks no DNS: a question would give away what is asked for.
// Whatever cannot be read goes to the gateway, and no answer that leads there
// has a way around it.
function FindProxyForURL(url, host) {
  return throughGateway(String(url), String(host)) ? gateway : "DIRECT";
}

var policy = settings.policy || {};
var gateway = proxies.join("; ");
var own = [hostOf(settings.gateway), hostOf(policy.services_gateway || settings.gateway)];
var list = index();

function throughGateway(url, host) {
  if (policy.network_access == "unrestricted") return false;
  var name = plain(host);
  if (name == "") return true;
  if (name == own[0] || name == own[1]) return false;
  if (name.indexOf(".") < 0 && name.indexOf(":") < 0) return true; // a single label means something inside only
  if (policy.split_tunnel != "on" && policy.split_tunnel != "reverse") return true;
  var port = portOf(url);
  if (port == "") return true;
  return listed(name, port) == (policy.split_tunnel == "on");
}

// index has the list's entries, "host:port" and "*.domain:port", as its keys.
function index() {
  var found = {}, i, entries = policy.background_services ? policy.background_services.split(",") : [];
  for (i = 0; i < entries.length; i++) found[entries[i]] = true;
  entries = policy.web_domains || []; // only web_sso has any
  for (i = 0; i < entries.length; i++) found[entries[i] + ":80"] = found[entries[i] + ":443"] = true;
  return found;
}

function listed(name, port) {
  if (list[name + ":" + port] === true) return true;
  for (var dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    if (list["*" + name.substring(dot) + ":" + port] === true) return true;
  }
  return false;
}

function hostOf(hostPort) {
  return hostPort.substring(0, hostPort.lastIndexOf(":"));
}

// portOf gives the URL's port in decimal, "" if it has none that is known.
function portOf(url) {
  var parts = /^([A-Za-z][A-Za-z0-9+.\-]*):\/\/([^\/?#\\]*)/.exec(url);
  if (!parts) return "";
  var place = parts[2].substring(parts[2].lastIndexOf("@") + 1);
  var given = /^(\[[^\[\]]*\]|[^:\[\]]*)(:([0-9]*))?$/.exec(place);
  if (!given) return "";
  if (given[3]) {
    var port = Number(given[3]);
    return port >= 1 && port <= 65535 ? String(port) : "";
  }
  switch (parts[1].toLowerCase()) {
    case "http": case "ws": return "80";
    case "https": case "wss": return "443";
    case "ftp": return "21";
  }
  return "";
}

// plain gives a host's one spelling, "" if it is no name and no address.
function plain(host) {
  var bracketed = /^\[(.*)\]$/.exec(host);
  if (bracketed || host.indexOf(":") >= 0) return plainSix(bracketed ? bracketed[1] : host);
  // The characters first: lower case would turn some others into letters.
  if (!/^[A-Za-z0-9._\-]+$/.test(host)) return "";
  if (isFour(host)) return host;
  var name = host.toLowerCase().replace(/\.$/, "");
  if (name.length > 253) return "";
  var labels = name.split("."), last = labels[labels.length - 1];
  for (var i = 0; i < labels.length; i++) {
    if (!/^[a-z0-9_]([a-z0-9_\-]*[a-z0-9_])?$/.test(labels[i]) || labels[i].length > 63) return "";
  }
  return /^([0-9]+|0x[0-9a-f]*)$/.test(last) ? "" : name;
}

function isFour(text) {
  return /^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$/.test(text);
}

// plainSix gives an IPv6 address as it came, or the IPv4 address that it maps.
function plainSix(text) {
  var tail = text.substring(text.lastIndexOf(":") + 1), four = "";
  if (isFour(tail)) {
    four = tail.split(".");
    text = text.substring(0, text.length - tail.length) + pair(four[0], four[1]) + ":" + pair(four[2], four[3]);
  }
  var halves = text.split("::"), groups = groupsOf(halves[0]), i;
  if (halves.length == 2) {
    var after = groupsOf(halves[1]);
    if (groups.length + after.length > 7) return "";
    while (groups.length + after.length < 8) groups.push("0");
    groups = groups.concat(after);
  }
  if (halves.length > 2 || groups.length != 8) return "";
  for (i = 0; i < 8; i++) {
    if (!/^[0-9A-Fa-f]{1,4}$/.test(groups[i])) return "";
    groups[i] = parseInt(groups[i], 16);
  }
  for (i = 0; i < 5; i++) if (groups[i] != 0) return text;
  if (groups[5] != 65535) return text;
  return (groups[6] >> 8) + "." + (groups[6] & 255) + "." + (groups[7] >> 8) + "." + (groups[7] & 255);
}

function groupsOf(half) {
  return half == "" ? [] : half.split(":");
}

function pair(high, low) {
  return (Number(high) * 256 + Number(low)).toString(16);
}
