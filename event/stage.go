package event

import "bytes"

// Stages that event types imply. They are shared: callers must not write to
// what StageOf returns.
var (
	stageQuery     = []byte("query")
	stageRewrite   = []byte("rewrite")
	stageRetrieval = []byte("retrieval")
	stageEmbedding = []byte("embedding")
	stageRerank    = []byte("rerank")
	stageGenerate  = []byte("generate")
	stageTool      = []byte("tool")
	stageCitation  = []byte("citation")
	stageIndex     = []byte("index")
)

// StageOf returns the stage of an event that names none: the one its type
// belongs to, else the type itself. The result is read-only.
//
// The stage names are those of a RAG pipeline's own steps. What people do
// with an answer (answer_liked, citation_clicked) is no step of making it and
// stays as it is, so answers and citations are matched by their whole name.
func StageOf(eventType []byte) []byte {
	switch string(eventType) {
	case "user_query":
		return stageQuery
	case "answer_started", "answer_completed", "answer_generated", "answer_returned", "answer_failed":
		return stageGenerate
	case "citation_started", "citation_completed", "citation_failed":
		return stageCitation
	}
	head, rest, found := bytes.Cut(eventType, []byte("_"))
	if !found {
		return eventType
	}
	switch string(head) {
	case "llm", "generation":
		return stageGenerate
	case "retrieval", "retriever":
		return stageRetrieval
	case "rerank", "reranking":
		return stageRerank
	case "embedding":
		return stageEmbedding
	case "tool":
		return stageTool
	case "rewrite":
		return stageRewrite
	case "query":
		if bytes.HasPrefix(rest, []byte("rewrite_")) {
			return stageRewrite
		}
	case "index", "indexing":
		return stageIndex
	}
	return eventType
}
