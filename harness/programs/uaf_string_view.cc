// A view of a string that is gone.
//
// The class of CERT's rule STR52-CPP, as in Vim's CVE-2022-1898: what is to be searched for is a pointer into a line, and the line is replaced before the search
// ends. Here a view of a header's value, and a header that is set again.
#include "uaf.h"

#include <map>
#include <string>
#include <string_view>

struct Request {
    std::map<std::string, std::string> headers;

    std::string_view header(const std::string &name) const {
        auto found = headers.find(name);
        return found == headers.end() ? std::string_view() : std::string_view(found->second);
    }

    // What a rewriting rule does.
    void set(const std::string &name, const std::string &value) { headers[name] = value; }
};

int main() {
    const std::string origin = "https://trusted.example.org/" + std::string(60, 'a');
    Request request;
    request.set("Origin", origin);
    std::string_view view = request.header("Origin");
    const char *volatile kept = view.data(); // so that the view is in memory, as it is in a struct
    // The mistake: the string that the view is of is replaced by a longer one.
    request.set("Origin", "https://elsewhere.example.org/" + std::string(600, 'b'));
    life_goes_on(origin.size() + 1);
    return verdict(std::string_view(kept, view.size()) == origin);
}
