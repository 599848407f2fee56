"""Files of annotations taken apart: rows, trees and arrays, checked as they are read."""
