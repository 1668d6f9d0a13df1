// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import "net/http"

// maxRows is the number of operations on the page. /stats has them all.
const maxRows = 1000

func (h *Handler) page(w http.ResponseWriter, r *http.Request) {
	shown := view{Notice: noticeOf(r)}
	found, err := h.read(r)
	if err != nil {
		p := problemOf(err)
		renderPage(w, r, p.status, view{Notice: p.text, Failed: true})
		return
	}
	rows := 0
	for _, m := range found {
		module := viewOf(m)
		if rows += len(module.Operations); rows > maxRows {
			kept := max(0, len(module.Operations)-(rows-maxRows))
			shown.Omitted += len(module.Operations) - kept
			module.Operations, rows = module.Operations[:kept], maxRows
		}
		shown.Modules = append(shown.Modules, module)
	}
	renderPage(w, r, http.StatusOK, shown)
}

// noticeOf returns the message of the purge that led to the page.
func noticeOf(r *http.Request) string {
	status := r.URL.Query().Get("done")
	for _, o := range outcomes {
		if o.Status == status {
			return o.Message
		}
	}
	return ""
}

func (*Handler) style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "style.css")
}
