package machinetest

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// netshHTTP is netsh http {add,delete,show} sslcert: the TLS bindings of http.sys.
func netshHTTP(x *execution, args []string) int {
	if len(args) < 2 || !strings.EqualFold(args[1], "sslcert") {
		x.out.WriteString("The following command was not found: http " + strings.Join(args, " ") + ".\r\n")
		return 1
	}
	given := map[string]string{}
	for _, a := range args[2:] {
		k, v, pair := strings.Cut(a, "=")
		if !pair || !oneOf(k, "ipport", "certhash", "appid", "certstorename") {
			x.out.WriteString("The parameter is incorrect.\r\n")
			return 1
		}
		given[strings.ToLower(k)] = v
	}
	path := bindingKey + `\` + given["ipport"]
	v, there := x.h.reg.Get(path, "SslCertHash")
	switch strings.ToLower(args[0]) {
	case "show":
		if !there {
			return x.says("The system cannot find the file specified.", 1)
		}
		return x.says(fmt.Sprintf("SSL Certificate bindings: \r\n------------------------- \r\n\r\n    IP:port                      : %s \r\n    Certificate Hash             : %x \r\n", given["ipport"], v.Data), 0)
	case "delete":
		if !there {
			return x.says("SSL Certificate deletion failed, Error: 2\r\nThe system cannot find the file specified.", 1)
		}
		x.h.reg.Delete(path)
		x.h.writes.Add(1)
		return x.says("SSL Certificate successfully deleted", 0)
	case "add":
		return x.addBinding(path, given, there)
	}
	return x.says("The following command was not found.", 1)
}

func (x *execution) addBinding(path string, given map[string]string, there bool) int {
	raw, err := hex.DecodeString(given["certhash"])
	_, stored := x.h.reg.Get(myKey+`\`+strings.ToUpper(given["certhash"]), "Blob")
	switch {
	case there:
		return x.says("SSL Certificate add failed, Error: 183\r\nCannot create a file when that file already exists.", 1)
	case err != nil || len(raw) != 20 || given["appid"] == "" || given["ipport"] == "":
		return x.says("The parameter is incorrect.", 1)
	case !stored || x.h.keys[strings.ToUpper(given["certhash"])] == nil:
		return x.says("SSL Certificate add failed, Error: 1312\r\nA specified logon session does not exist. It may already have been terminated.", 1)
	case x.h.has(DiskFull):
		return x.says("SSL Certificate add failed, Error: 112\r\nThere is not enough space on the disk.", 1)
	}
	x.h.reg.Set(path, Value{Name: "SslCertHash", Type: Binary, Data: raw})
	x.h.reg.Set(path, Value{Name: "AppId", Type: Binary, Data: guid(strings.Trim(given["appid"], "{}"))})
	x.h.reg.SetText(path, "SslCertStoreName", given["certstorename"])
	x.h.reg.SetNum(path, "DefaultFlags", 0)
	x.h.writes.Add(1)
	return x.says("SSL Certificate successfully added", 0)
}

// says prints and answers the exit code.
func (x *execution) says(text string, code int) int {
	x.out.WriteString("\r\n" + text + "\r\n\r\n")
	return code
}
