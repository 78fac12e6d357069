// An observer that is told of things after its end.
//
// The class of CVE-2010-0249 (Internet Explorer, "Aurora"): an event keeps the element it came from without counting itself among those who hold it, the element
// is removed, and the event is asked for its source. Here a document whose list of observers is not told that one has gone; the call goes through the table
// of virtual functions of whatever lies there now.
#include "uaf.h"

#include <new>
#include <vector>

struct Observer {
    virtual ~Observer() = default;
    virtual unsigned long changed(unsigned long what) = 0;
};

class Document {
    std::vector<Observer *> observers;

  public:
    void observe(Observer *o) { observers.push_back(o); }

    unsigned long change(unsigned long what) {
        unsigned long sum = 0;
        for (Observer *o : observers) {
            // A hostile table of functions would be called; here its address is looked at first, so that the test ends in order.
            uintptr_t table;
            memcpy(&table, static_cast<void *>(o), sizeof table);
            if (table == 0x0101010101010101u * HOSTILE || table < 4096 || table % 8)
                exit(verdict(0));
            sum += o->changed(what);
        }
        return sum;
    }
};

class View : public Observer {
    unsigned long factor;
    char title[56] = "a view";

  public:
    explicit View(unsigned long f) : factor(f) {}
    unsigned long changed(unsigned long what) override { return title[0] == 'a' ? factor * what : 0; }
};

int main() {
    Document document;
    View stays(1);
    // Plain memory and a destructor that is not called: destructors of C++ put the base's table in, and calling a pure function is another mistake.
    void *memory = malloc(sizeof(View));
    View *closes = new (memory) View(10);
    document.observe(&stays);
    document.observe(closes);
    free(memory); // the mistake: the document still has it
    life_goes_on(sizeof(View));
    return verdict(document.change(3) == 33);
}
