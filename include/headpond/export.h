// Symbol visibility of the shared library.
#pragma once

#define HEADPOND_API [[gnu::visibility("default")]]
