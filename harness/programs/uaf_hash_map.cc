// An iterator into a hash map whose element is erased by what is done with it.
//
// The class of CERT's rule CTR51-CPP for containers of nodes: a visit calls something that erases the element visited, and the loop goes on from it. Common in
// servers that walk their sessions and close the idle ones, where closing takes the session out of the map.
#include "uaf.h"

#include <unordered_map>

struct Session {
    unsigned long id, idle_s;
    char peer[40];
};

using Sessions = std::unordered_map<unsigned long, Session>;

static void close_session(Sessions &sessions, unsigned long id) { sessions.erase(id); }

int main() {
    Sessions sessions;
    sessions.reserve(64);
    for (unsigned long id = 1; id <= 20; id++)
        sessions[id] = {id, id * 10, "203.0.113.7"};
    // The size of a node: a link, the pair, no cached hash for integers.
    const size_t node_bytes = sizeof(void *) + sizeof(Sessions::value_type);
    unsigned long visited = 0, sum = 0;
    for (auto at = sessions.begin(); at != sessions.end(); ++at) { // the mistake: ++ reads the link of the node that is gone
        if (visited++ == 20)
            return verdict(0);
        sum += at->second.id;
        if (at->second.id == 11) {
            close_session(sessions, 11);
            life_goes_on(node_bytes);
            if (at->second.id != 11 || at->second.peer[0] != '2')
                return verdict(0);
        }
    }
    return verdict(visited == 20 && sum == 210 && sessions.size() == 19);
}
