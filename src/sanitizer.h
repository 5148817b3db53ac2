// Is this a build with ThreadSanitizer? g++ and clang say it differently.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define HEADPOND_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HEADPOND_THREAD_SANITIZER 1
#endif
#endif
#ifndef HEADPOND_THREAD_SANITIZER
#define HEADPOND_THREAD_SANITIZER 0
#endif
