// A closure over `this` that is run when the object is gone.
//
// The class that Chromium's guide to dangling `base::Unretained` pointers counts as more than a third of its use-after-free bugs: a task is posted with the
// bare address of who posted it, who dies before the task runs.
#include "uaf.h"

#include <deque>
#include <functional>
#include <memory>

static std::deque<std::function<void()>> tasks;

static unsigned long written;

class Download {
    unsigned long received = 4096;
    char path[72] = "downloads/report.pdf";
    Download *self = this;

  public:
    void finish_later() {
        tasks.push_back([this] { finish(); }); // the mistake: the task does not keep the download
    }

    void finish() {
        if (self != this || memcmp(path, "downloads/", 10))
            return;
        written = received;
        received = 0;
    }
};

int main() {
    auto download = std::make_unique<Download>();
    download->finish_later();
    download.reset(); // cancelled
    life_goes_on(sizeof(Download));
    tasks.front()();
    return verdict(written == 4096 && spray_is_intact(sizeof(Download)));
}
