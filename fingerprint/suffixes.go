package fingerprint

// isDomain reports whether the last label of a dotted name makes it a host:
// the domains that services live in. Country codes that are just as often the
// name of an attribute, a word or a file type (id, is, at, py, rs) are not here.
func isDomain(suffix []byte) bool {
	switch string(suffix) {
	case "com", "net", "org", "edu", "gov", "biz", "io", "ai", "co", "dev", "app", "cloud",
		"arpa", "local", "localdomain", "internal", "intranet", "private", "corp", "lan", "svc", "cluster",
		"test", "example", "invalid", "localhost",
		"au", "br", "ca", "ch", "cn", "cz", "de", "dk", "es", "eu", "fi", "fr", "hk", "ie", "il", "jp", "kr",
		"mx", "nl", "nz", "pt", "ru", "se", "sg", "tw", "ua", "uk", "vn", "za":
		return true
	}
	return false
}

// isDocument reports whether a file type is one that people upload: the name
// of such a file is data, while that of a source file tells where an error is.
func isDocument(suffix []byte) bool {
	switch string(suffix) {
	case "pdf", "doc", "docx", "odt", "rtf", "xls", "xlsx", "csv", "tsv", "ppt", "pptx", "txt", "md", "htm", "html", "epub",
		"png", "jpg", "jpeg", "gif", "webp", "tiff", "mp3", "mp4", "wav":
		return true
	}
	return false
}

// isSource reports whether a file type is one of source code, where a colon and
// a number are a line and not a port.
func isSource(suffix []byte) bool {
	switch string(suffix) {
	case "py", "pyx", "js", "jsx", "mjs", "cjs", "ts", "tsx", "vue", "go", "rs", "java", "kt", "scala", "clj", "c", "cc", "cpp",
		"h", "hpp", "cs", "rb", "php", "lua", "pl", "r", "sh", "sql", "swift", "m", "dart", "ex", "exs", "yaml", "yml", "json",
		"toml", "xml", "ini", "conf", "cfg", "log":
		return true
	}
	return false
}
