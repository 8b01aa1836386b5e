// Package web shows what package rollout says: the coverage of the fleet and each
// campaign, wave by wave. Pages are rendered on the server, work without
// JavaScript, and become live with it. It only reads.
package web
